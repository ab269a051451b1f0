"""The study that a run plans, from the configuration that Snakemake read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmrobust.errors import UserError, unknown_name
from mmrobust.grid import evaluated_images
from mmrobust.study import Study, parse_study
from mmrobust.yaml_file import read_yaml

CHECKPOINT = ("model.safetensors", "model.json")
"""Files of a checkpoint that an attack can be crafted on."""


def planned_study(values: Mapping[str, Any], *, files: Sequence[str | Path], claims: Path) -> Study:
    """Check what was asked for before any job is planned.

    A study's results lie in a folder of its name, so the name must be its file's: a copied file
    that kept the old name would overwrite the other study's results.

    Args:
        values: The configuration.
        files: The files that it was read from.
        claims: The entries that a study's `claims` name.

    Raises:
        UserError: One line on what is wrong, and where.
    """
    shown = [os.path.relpath(file) for file in files]
    where = ", ".join(shown)
    study = parse_study(values, where=where)
    for file in shown:
        read_yaml(Path(file))  # stricter than Snakemake, which lets a key stand twice
        if Path(file).stem != study.study:
            raise UserError(f"{file}: `study` is {study.study!r}; it must be the file's name")
    known = read_claims(claims) if study.claims else {}
    for claim in study.claims:
        if claim not in known:
            raise unknown_name(f"claim in {where}: claims:", claim, known)
        _check_claim(study, claim, known[claim], where)
    _check_sources(study, where)
    return study


@dataclass(frozen=True)
class Claim:
    """What planning must know of a claim: the protocol that it is judged under, and its attacks."""

    protocol: str | None
    attacks: tuple[str, ...]


def read_claims(path: Path) -> dict[str, Claim]:
    """Read the claims that are written down, by id; the job that judges checks the rest."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["claims"]
        return {str(entry["id"]): _claim(entry.get("statistic")) for entry in entries}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: not a list of claims with ids ({problem})") from None


def _claim(statistic: Any) -> Claim:
    fields = statistic if isinstance(statistic, dict) else {}
    cells = [value for value in fields.values() if isinstance(value, dict)]
    attacks = tuple(str(cell["attack"]) for cell in cells if "attack" in cell)
    return Claim(fields.get("protocol"), attacks)


def _check_claim(study: Study, name: str, claim: Claim, where: str) -> None:
    """Some items are measured under own_pair alone, so nothing else can be claimed of them."""
    if claim.protocol != "full_gallery":
        return
    for attack in claim.attacks:
        place = f"{where}: claims: {name!r} is judged under full_gallery, but"
        if attack in study.ensembles:
            raise UserError(f"{place} ensemble {attack!r} is measured under own_pair alone")
        items = study.attacks.get(attack, {}).get("items")
        if items is not None and items != evaluated_images(study):
            raise UserError(
                f"{place} attacks.{attack} has `items`, which are measured under own_pair alone"
            )


def _check_sources(study: Study, where: str) -> None:
    """A folder that attacks are transferred from holds a checkpoint, or is made by a study."""
    for name, threat_model in study.threat_models.items():
        folder = threat_model.get("source") or ""
        if "/" not in folder or Path(folder).resolve().is_relative_to(Path("results").resolve()):
            continue
        if not all((Path(folder) / file).is_file() for file in CHECKPOINT):
            raise UserError(
                f"{where}: threat_models.{name}.source: {folder} holds no checkpoint "
                f"({', '.join(CHECKPOINT)})"
            )
