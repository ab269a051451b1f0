"""Threat models: what an attacker may change, by how much, and what it knows."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from mmrobust.errors import UserError
from mmrobust.quantities import NonNegativeInt, PixelDistance


@dataclass(frozen=True, kw_only=True)
class ImageBudget:
    """How far an image may move: `norm` of the perturbation at most `eps`, pixels in [0, 1]."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    norm: Literal["linf"] = "linf"
    eps: PixelDistance


@dataclass(frozen=True, kw_only=True)
class TextBudget:
    """How far a caption may move: at most `words` of its words replaced, none added or removed."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    words: NonNegativeInt


@dataclass(frozen=True, kw_only=True)
class ThreatModel:
    """Budget per modality (None: that modality is left alone) and the attacker's knowledge."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    knowledge: Literal["white_box"] = "white_box"
    image: ImageBudget | None = None
    text: TextBudget | None = None


def refuse_unfit_budgets(attack: str, *, perturbs: Set[str], given: Set[str]) -> None:
    """Raise `UserError` unless an attack has a budget for just the modalities that it perturbs."""
    for modality in sorted(perturbs ^ given):
        need, state = (
            ("perturbs", "has none") if modality in perturbs else ("doesn't perturb", "has one")
        )
        raise UserError(
            f"attack {attack} {need} the {modality} but its threat model {state} for the {modality}"
        )
