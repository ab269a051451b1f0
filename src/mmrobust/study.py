"""A study's configuration: read strictly, checked against the schema, with one-line errors.

Nothing here imports torch, so that planning a study stays quick: `study.schema.json` was
generated from the classes that the sections configure (`mmrobust.schema`), and each job builds
those classes itself from its own section (`mmrobust.config.build`). No job imports this module,
so a new attack or defence, which changes the schema, changes no other job's code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema

from mmrobust import curves, sweeps
from mmrobust.augmentations import check_augmentations
from mmrobust.ensembles import check_ensembles
from mmrobust.errors import UserError, unknown_name
from mmrobust.grid import Facts, asks_masked_lm, check_attacks
from mmrobust.parts import check_parts
from mmrobust.quantities import (
    DISTANCE_FORMAT,
    PIXEL_DISTANCE_FORMAT,
    is_distance,
    is_pixel_distance,
)
from mmrobust.schema_errors import as_user_error, first
from mmrobust.yaml_file import read_yaml

ATTACK_FACTS = "x-attack-facts"
"""Key of the schema that says of each attack what it perturbs and what it asks for."""
DECIDES_TRUTH = "x-decides-truth"
"""Key of the schema that names the datasets which decide whether a caption is true."""
HAS_GRAMMAR = "x-has-grammar"
"""Key of the schema that names the datasets which know words of the same kind."""
METHOD_FACTS = "x-method-facts"
"""Key of the schema that says of each training method what it starts from and what it trains."""
OF_DATASET = "x-of-dataset"
"""Key of the schema that says which augmentation methods are of one dataset, and of which."""
Section = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Study:
    """A whole study as its YAML file says it; sections are kept as they were written."""

    study: str
    title: str
    seeds: list[int]
    data_seed: int
    threads: int
    device: str
    dataset: Section
    tokenizer: Section
    masked_lm: Section | None = None
    model: Section
    training: Section
    augmentations: dict[str, Section]
    judge: Section | None = None
    threat_models: dict[str, Section]
    defences: dict[str, Section]
    attacks: dict[str, Section]
    curves: dict[str, Section]
    ensembles: dict[str, Section]
    sweeps: dict[str, Section]
    evaluation: Section
    claims: list[str]
    targets: dict[str, list[str]]


DEFAULTS: Section = {
    "data_seed": 0,
    "threads": 1,
    "device": "cpu",
    "tokenizer": {},
    "augmentations": {},
    "curves": {},
    "ensembles": {},
    "sweeps": {},
    "claims": [],
    "targets": {},
}


def load_study(path: Path) -> Study:
    """Read `config/<study>.yaml`.

    Raises:
        UserError: unreadable file, unknown key (with the nearest known one), impossible value.
    """
    study = parse_study(read_yaml(path), where=str(path))
    if study.study != path.stem:
        raise UserError(f"{path}: `study` is {study.study!r}; it must be the file's name")
    return study


def asking_masked_lm(study: Study) -> list[str]:
    """Names of the attacks of a study that ask the masked language model."""
    facts = _schema()["properties"]["attacks"][ATTACK_FACTS]
    return [
        name
        for name, entry in study.attacks.items()
        if asks_masked_lm(entry, facts[entry["method"]])
    ]


def parse_study(values: object, *, where: str) -> Study:
    """Check a configuration's values and what its sections say of each other."""
    errors = list(_validator().iter_errors(values))
    if errors:
        raise as_user_error(first(errors), where, _schema())
    assert isinstance(values, dict)
    study = Study(**{**DEFAULTS, **values})
    study = curves.laid_out(study, where)
    study = sweeps.laid_out(study, _validator(), where)
    sections = _schema()["properties"]
    facts = Facts(
        attacks=sections["attacks"][ATTACK_FACTS],
        decides_truth=sections["dataset"][DECIDES_TRUTH],
        has_grammar=sections["dataset"][HAS_GRAMMAR],
    )
    check_attacks(study, facts, where)
    check_parts(study, where)
    check_ensembles(study, where)
    check_augmentations(study, sections["augmentations"][OF_DATASET], where)
    for name in study.defences:
        _check_start(study, name, sections["defences"][METHOD_FACTS], where)
    _check_image_size(study, where)
    return study


def _check_image_size(study: Study, where: str) -> None:
    """A model trained from scratch takes images of the size that the dataset is prepared at."""
    architecture = study.model.get("architecture")
    if architecture is None:
        return
    expected = architecture["vision_cfg"].get("image_size")
    found = study.dataset.get("image_size")
    if expected != found:
        raise UserError(
            f"{where}: dataset.image_size is {found} and model.architecture.vision_cfg.image_size "
            f"is {expected}; they must be given and equal"
        )


def _check_start(study: Study, name: str, methods: Mapping[str, Section], where: str) -> None:
    """Follow a defence's `initial` defences to one that starts from the study's own weights."""
    entry = study.defences[name]
    facts = methods[entry["method"]]
    towers = entry.get("towers", facts["towers"])
    starts = entry.get("initial") is not None or study.model.get("pretrained") is not None
    if facts["needs_original"] and not starts:
        raise UserError(
            f"{where}: defences.{name}: method {entry['method']!r} is held to the model that it "
            "starts from; wanted: `initial`, the defence that it fine-tunes"
        )
    if towers != "both" and not starts:
        raise UserError(
            f"{where}: defences.{name}: trains the {towers} tower beside one that stays random; "
            "wanted: `initial`, the defence that it fine-tunes, or `towers: both`"
        )
    seen = [name]
    while (initial := study.defences[seen[-1]].get("initial")) is not None:
        if initial not in study.defences:
            kind = f"defence in {where}: defences.{seen[-1]}.initial"
            raise unknown_name(kind, initial, study.defences)
        if initial in seen:
            circle = " -> ".join([*seen, initial])
            raise UserError(f"{where}: defences.{name}.initial: goes round in a circle ({circle})")
        seen.append(initial)


@cache
def _schema() -> Section:
    text = resources.files("mmrobust").joinpath("study.schema.json").read_text(encoding="utf-8")
    schema: Section = json.loads(text)
    return schema


@cache
def _validator() -> jsonschema.Draft202012Validator:
    formats = jsonschema.FormatChecker(())
    formats.checks(PIXEL_DISTANCE_FORMAT)(is_pixel_distance)
    formats.checks(DISTANCE_FORMAT)(is_distance)
    return jsonschema.Draft202012Validator(_schema(), format_checker=formats)
