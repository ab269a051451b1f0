"""The attacks of a study as a grid: curves laid out as attacks, and what they say of each other.

Planning a study runs this, so nothing here imports torch; what it must know of an attack's code
stands in the generated schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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


def laid_out(study: Study, where: str) -> Study:
    """The study with each point of each curve as an attack and a threat model of its own."""
    attacks, threat_models = dict(study.attacks), dict(study.threat_models)
    for name, curve in study.curves.items():
        if curve["attack"] not in study.attacks:
            raise unknown_name(f"attack in {where}: curves.{name}:", curve["attack"], study.attacks)
        base = study.attacks[curve["attack"]]
        budgets = _threat_model(study, curve["attack"], where)
        modality, key = ("image", "eps") if "eps" in curve else ("text", "words")
        if budgets.get(modality) is None:
            raise UserError(
                f"{where}: curves.{name}: varies {key}, but threat model {base['threat_model']!r} "
                f"of attack {curve['attack']!r} has no {modality} budget"
            )
        for value in curve[key]:
            suffix = f"{key}_{_as_name(value)}"
            point, of_point = f"{curve['attack']}_{suffix}", f"{base['threat_model']}_{suffix}"
            if point in attacks:
                raise UserError(f"{where}: curves.{name}: there are two attacks {point!r}")
            threat_models[of_point] = {**budgets, modality: {**budgets[modality], key: value}}
            entry = {**base, "threat_model": of_point, "curve": name}
            attacks[point] = {**entry, "items": curve["items"]} if "items" in curve else entry
    return replace(study, attacks=attacks, threat_models=threat_models)


def check_attacks(study: Study, facts: Mapping[str, Section], where: str) -> None:
    """Raise `UserError` for an attack, threat model or ensemble that can't be what was meant.

    Args:
        study: with its curves laid out.
        facts: by method, what the schema says of the attack's code.
        where: file of the study.
    """
    for name, threat_model in study.threat_models.items():
        _check_threat_model(study, name, threat_model, where)
    for name, entry in study.attacks.items():
        _check_attack(study, name, entry, facts[entry["method"]], where)
    members = {member for of in study.ensembles.values() for member in of["members"]}
    for name, entry in study.attacks.items():
        if not entry.get("standalone", True) and name not in members:
            raise UserError(
                f"{where}: attacks.{name}.standalone: false, but no ensemble has it as a member"
            )
    for name, ensemble in study.ensembles.items():
        _check_ensemble(study, name, ensemble, where)


def _threat_model(study: Study, attack: str, where: str) -> Section:
    name = study.attacks[attack]["threat_model"]
    if name not in study.threat_models:
        kind = f"threat model in {where}: attacks.{attack}.threat_model"
        raise unknown_name(kind, name, study.threat_models)
    return study.threat_models[name]


def _as_name(value: object) -> str:
    """A value as a part of a name: 4/255 as 4_255, 0.5 as 0p5."""
    return str(value).replace(" ", "").replace("/", "_").replace(".", "p")


def _check_threat_model(study: Study, name: str, threat_model: Section, where: str) -> None:
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
    if image.get("norm", "linf") == "linf" and float(_number(image["eps"])) > 1:
        raise UserError(f"{place}.image.eps: {image['eps']} is above 1 (allowed for linf: 0..1)")


def _check_attack(study: Study, name: str, entry: Section, facts: Section, where: str) -> None:
    if name in TAKEN:
        raise UserError(f"{where}: attacks.{name}: the name is taken by files of every study")
    budgets = _threat_model(study, name, where)
    refuse_unfit_budgets(
        f"{name} of {where}",
        perturbs=set(facts["perturbs"]),
        given={key for key in ("image", "text") if budgets.get(key) is not None},
    )
    knowledge = budgets.get("knowledge", "white_box")
    if knowledge == "query" and facts["uses_gradients"]:
        raise UserError(
            f"{where}: attacks.{name}: {entry['method']!r} uses gradients, which knowledge 'query' "
            "doesn't give"
        )
    if _asks_masked_lm(entry, facts) and study.masked_lm is None:
        raise UserError(
            f"{where}: attacks.{name}: asks a masked language model, so the study needs a section "
            "`masked_lm`"
        )


def _asks_masked_lm(entry: Section, facts: Section) -> bool:
    if "text" not in entry:
        return bool(facts["uses_masked_lm"])
    parts = [entry["text"].get("candidates", {}), *entry["text"].get("constraints", [])]
    return any(part.get("kind") in MODEL_ASKING for part in parts)


def _check_ensemble(study: Study, name: str, ensemble: Section, where: str) -> None:
    place = f"{where}: ensembles.{name}"
    if name in (*TAKEN, *study.attacks):
        raise UserError(f"{place}: the name is taken by a cell of the study")
    if ensemble["threat_model"] not in study.threat_models:
        kind = f"threat model in {place}.threat_model"
        raise unknown_name(kind, ensemble["threat_model"], study.threat_models)
    allowed = study.threat_models[ensemble["threat_model"]]
    for member in ensemble["members"]:
        if member not in study.attacks:
            raise unknown_name(f"attack in {place}.members:", member, study.attacks)
        budgets = _threat_model(study, member, where)
        if not _within(budgets, allowed):
            raise UserError(
                f"{place}.members: {member!r} has a larger budget "
                f"({study.attacks[member]['threat_model']}) than the ensemble's threat model "
                f"({ensemble['threat_model']})"
            )
        own = study.attacks[member].get("items")
        runs_alone = study.attacks[member].get("standalone", True)
        if runs_alone and own is not None and own < ensemble.get("items", own + 1):
            raise UserError(
                f"{place}.members: {member!r} attacks {own} items, fewer than the ensemble "
                "(allowed: as many or more, or `standalone: false`)"
            )


def _within(inner: Section, outer: Section) -> bool:
    """Whether all that one threat model allows is allowed by the other, knowledge aside."""
    image, text = inner.get("image"), inner.get("text")
    if image is not None:
        outer_image = outer.get("image")
        if outer_image is None or image.get("norm", "linf") != outer_image.get("norm", "linf"):
            return False
        if float(_number(image["eps"])) > float(_number(outer_image["eps"])):
            return False
    if text is None:
        return True
    outer_text = outer.get("text")
    if outer_text is None or text["words"] > outer_text["words"]:
        return False
    if outer_text.get("keeps_truth", False) and not text.get("keeps_truth", False):
        return False
    limit = outer_text.get("characters")
    return limit is None or (text.get("characters") is not None and text["characters"] <= limit)


def _number(value: object) -> Any:
    return parse_fraction(value)
