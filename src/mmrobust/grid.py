"""The attacks of a study as a grid: what attacks, threat models and dataset say of each other.

Planning a study runs this, so nothing here imports torch; what it must know of the code behind a
name stands in the generated schema.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmrobust.errors import UserError, unknown_name
from mmrobust.quantities import parse_fraction
from mmrobust.threat import refuse_source, refuse_unfit_budgets

if TYPE_CHECKING:
    from mmrobust.study import Study

Section = dict[str, Any]

TAKEN = ("clean", "run")
"""Names of files that lie beside the attacks' cells in every study."""

MODEL_ASKING = ("masked_lm", "similarity")
"""Parts of a text search that ask a masked language model."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of the code behind a study's names.

    Fields:
        attacks: by method, what an attack with default fields perturbs and asks for.
        decides_truth: datasets that decide whether a caption is true.
        has_grammar: datasets that know which words are of a kind.
    """

    attacks: Mapping[str, Section]
    decides_truth: Collection[str]
    has_grammar: Collection[str]


def check_attacks(study: Study, facts: Facts, where: str) -> None:
    """Raise `UserError` for an attack or threat model that can't be what was meant.

    Args:
        study: with its curves laid out.
        facts: what is known of attacks and datasets.
        where: file of the study.
    """
    for name, threat_model in study.threat_models.items():
        _check_threat_model(study, name, threat_model, facts, where)
    for name, entry in study.attacks.items():
        _check_attack(study, name, entry, facts, where)
    _check_sizes(study, where)


def threat_model_of(study: Study, attack: str, where: str) -> Section:
    """The threat model of an attack; `UserError` if the study has none of that name."""
    name = study.attacks[attack]["threat_model"]
    if name not in study.threat_models:
        kind = f"threat model in {where}: attacks.{attack}.threat_model"
        raise unknown_name(kind, name, study.threat_models)
    return study.threat_models[name]


def distance(value: object) -> float:
    """A configured distance as a number; the schema has seen to it that it is one."""
    number: Any = parse_fraction(value)
    return float(number)


def evaluated_images(study: Study) -> int | None:
    """Images of the split that is attacked; None where the study leaves that to the dataset."""
    split = study.evaluation.get("split", "test")
    number: int | None = study.dataset.get("splits", {}).get(split)
    if number is None or split != "train":
        return number
    renderings: int = study.dataset.get("renderings_per_scene", 1)
    return number * renderings


def _check_sizes(study: Study, where: str) -> None:
    """Galleries that cut the split evenly, and no more items than it has."""
    images = evaluated_images(study)
    if images is None:
        return
    split = study.evaluation.get("split", "test")
    for at, size in enumerate(study.evaluation["gallery_images"]):
        if images % size:
            raise UserError(
                f"{where}: evaluation.gallery_images.{at}: {size} does not divide the {images} "
                f"images of split {split!r}"
            )
    own = {name: entry for name, entry in study.attacks.items() if "curve" not in entry}
    sections = {"attacks": own, "curves": study.curves, "ensembles": study.ensembles}
    for key, section in sections.items():
        for name, entry in section.items():
            if entry.get("items", 1) > images:
                raise UserError(
                    f"{where}: {key}.{name}.items: {entry['items']} is above the {images} images "
                    f"of split {split!r}"
                )


def _check_threat_model(
    study: Study, name: str, threat_model: Section, facts: Facts, where: str
) -> None:
    place = f"{where}: threat_models.{name}"
    try:
        refuse_source(threat_model.get("knowledge", "white_box"), threat_model.get("source"))
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
    source = threat_model.get("source")
    if source is not None and "/" not in source and source not in study.defences:
        kind = f"defence in {place}.source (a folder is told by a slash):"
        raise unknown_name(kind, source, study.defences)
    image = threat_model.get("image") or {"eps": 0}
    if image.get("norm", "linf") == "linf" and distance(image["eps"]) > 1:
        raise UserError(f"{place}.image.eps: {image['eps']} is above 1 (allowed for linf: 0..1)")
    if (threat_model.get("text") or {}).get("keeps_truth", False):
        _check_truth(study, facts, f"{place}.text.keeps_truth")


def _check_truth(study: Study, facts: Facts, place: str) -> None:
    if study.dataset["name"] not in facts.decides_truth:
        raise UserError(
            f"{place}: dataset {study.dataset['name']!r} doesn't decide truth "
            f"(allowed: {', '.join(facts.decides_truth)})"
        )


def _check_attack(study: Study, name: str, entry: Section, facts: Facts, where: str) -> None:
    place, known = f"{where}: attacks.{name}", facts.attacks[entry["method"]]
    if name in TAKEN:
        raise UserError(f"{place}: the name is taken by files of every study")
    budgets = threat_model_of(study, name, where)
    refuse_unfit_budgets(
        f"{place}:",
        perturbs=set(known["perturbs"]),
        given={key for key in ("image", "text") if budgets.get(key) is not None},
        threat_model=f"threat model {entry['threat_model']!r}",
    )
    text = entry.get("text", {})
    if budgets.get("knowledge") == "query":
        given = f"which knowledge 'query' (threat model {entry['threat_model']!r}) doesn't give"
        if known["uses_gradients"]:
            raise UserError(f"{place}: {entry['method']!r} uses gradients, {given}")
        if (text.get("importance") or {}).get("kind") == "gradient":
            raise UserError(f"{place}.text.importance: 'gradient' uses gradients, {given}")
    _check_text(study, text, facts, f"{place}.text")
    if asks_masked_lm(entry, known) and study.masked_lm is None:
        raise UserError(
            f"{place}: asks a masked language model, so the study needs a section `masked_lm`"
        )


def _check_text(study: Study, text: Section, facts: Facts, place: str) -> None:
    """A text search whose parts agree and ask the dataset for nothing that it doesn't have."""
    if text.get("method") == "exhaustive" and text.get("importance") is not None:
        raise UserError(
            f"{place}.importance: method 'exhaustive' tries all combinations of words (allowed: "
            "null)"
        )
    dataset = study.dataset["name"]
    if text.get("candidates", {}).get("kind") == "grammar" and dataset not in facts.has_grammar:
        raise UserError(
            f"{place}.candidates: dataset {dataset!r} has no grammar "
            f"(allowed: {', '.join(facts.has_grammar)})"
        )
    for at, constraint in enumerate(text.get("constraints", [])):
        if constraint["kind"] == "truth":
            _check_truth(study, facts, f"{place}.constraints.{at}")


def asks_masked_lm(entry: Section, known: Section) -> bool:
    """Whether an attack asks the masked language model.

    Args:
        entry: of the study's `attacks`.
        known: what is known of its method.
    """
    if "text" not in entry:
        return bool(known["uses_masked_lm"])
    parts = [entry["text"].get("candidates", {}), *entry["text"].get("constraints", [])]
    return any(part.get("kind") in MODEL_ASKING for part in parts)
