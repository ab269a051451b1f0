"""Curves of a study, an attack over several budgets, laid out as attacks of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mmrobust.errors import UserError, unknown_name
from mmrobust.grid import distance, threat_model_of

if TYPE_CHECKING:
    from mmrobust.study import Study

Section = dict[str, Any]

OWN_KEYS = ("items", "defences")
"""Keys of a curve that stand over those of its attack."""


def laid_out(study: Study, where: str) -> Study:
    """The study with each point of each curve as an attack and a threat model of its own."""
    attacks, threat_models = dict(study.attacks), dict(study.threat_models)
    for name, curve in study.curves.items():
        if curve["attack"] not in study.attacks:
            raise unknown_name(f"attack in {where}: curves.{name}:", curve["attack"], study.attacks)
        base = study.attacks[curve["attack"]]
        budgets = threat_model_of(study, curve["attack"], where)
        modality, key = ("image", "eps") if "eps" in curve else ("text", "words")
        if budgets.get(modality) is None:
            raise UserError(
                f"{where}: curves.{name}: varies {key}, but threat model {base['threat_model']!r} "
                f"of attack {curve['attack']!r} has no {modality} budget"
            )
        _check_values(curve[key], f"{where}: curves.{name}.{key}", budgets[modality].get("norm"))
        for value in curve[key]:
            suffix = f"{key}_{as_name(value)}"
            point, of_point = f"{curve['attack']}_{suffix}", f"{base['threat_model']}_{suffix}"
            made = {**budgets, modality: {**budgets[modality], key: value}}
            # Curves over several attacks share the threat models of their points.
            if point in attacks or threat_models.get(of_point, made) != made:
                raise UserError(
                    f"{where}: curves.{name}: its point {suffix} needs the names {point!r} and "
                    f"{of_point!r}, of which one is taken"
                )
            threat_models[of_point] = made
            entry = {**base, "threat_model": of_point, "curve": name, "standalone": True}
            attacks[point] = entry | {key: curve[key] for key in OWN_KEYS if key in curve}
    return replace(study, attacks=attacks, threat_models=threat_models)


def _check_values(values: Sequence[Any], place: str, norm: str | None) -> None:
    """Values of a curve; those of `words` are whole numbers, which the schema has seen to."""
    seen: dict[float, Any] = {}
    for at, value in enumerate(values):
        number = distance(value)
        if place.endswith(".eps") and norm in (None, "linf") and number > 1:
            raise UserError(f"{place}.{at}: {value} is above 1 (allowed for linf: 0..1)")
        if number in seen:
            raise UserError(f"{place}: {seen[number]} and {value} are equal")
        seen[number] = value


def as_name(value: object) -> str:
    """A value as a part of a name: 4/255 as 4_255, 0.5 as 0p5, false as false."""
    return str(value).lower().replace(" ", "").replace("/", "_").replace(".", "p")
