"""Threat models: what an attacker may change, by how much, and what it knows."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from mmrobust.errors import UserError
from mmrobust.quantities import Distance, NonNegativeInt

Norm = Literal["linf", "l2"]
Knowledge = Literal["white_box", "transfer", "query"]


@dataclass(frozen=True, kw_only=True)
class ImageBudget:
    """How far an image may move: `norm` of the perturbation at most `eps`, pixels in [0, 1].

    Fields:
        norm: linf (largest change of a pixel) or l2 (over all pixels and colours).
        eps: radius in pixel units of [0, 1]; at most 1 for linf.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    norm: Norm = "linf"
    eps: Distance

    def __post_init__(self) -> None:
        if not 0 <= self.eps < math.inf:
            raise UserError(f"image.eps: {self.eps} is no distance (allowed: 0 or more)")
        if self.norm == "linf" and self.eps > 1:
            raise UserError(
                f"image.eps: {self.eps} is above 1, the whole range of a pixel (allowed for linf: "
                "0..1; grey levels are written as 2/255)"
            )


@dataclass(frozen=True, kw_only=True)
class TextBudget:
    """How far a caption may move: words replaced by one word each, none added or removed.

    Fields:
        words: words of a caption that may differ; a caption that has fewer may lose them all.
        characters: Levenshtein distance that the caption may move; None: as the words allow.
        keeps_truth: whether an attacked caption must still be true of its image. Only a world
            that decides truth exactly can be attacked under such a budget.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    words: NonNegativeInt
    characters: NonNegativeInt | None = None
    keeps_truth: bool = False

    def __post_init__(self) -> None:
        for name, value in (("words", self.words), ("characters", self.characters)):
            if value is not None and value < 0:
                raise UserError(f"text.{name}: {value} is below 0 (allowed: 0 or more)")


@dataclass(frozen=True, kw_only=True)
class ThreatModel:
    """Budget per modality (None: that modality is left alone) and the attacker's knowledge.

    Fields:
        knowledge: white_box (weights and gradients of the evaluated model), transfer (those of
            `source`, none of the evaluated model) or query (scores of the evaluated model, no
            gradients).
        source: for transfer, the defence whose model of the same seed the attack is crafted on,
            or the folder of a checkpoint, told by a slash in it.
        image: budget of the image.
        text: budget of the captions.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    knowledge: Knowledge = "white_box"
    source: str | None = None
    image: ImageBudget | None = None
    text: TextBudget | None = None

    def __post_init__(self) -> None:
        refuse_source(self.knowledge, self.source)


def refuse_source(knowledge: str, source: str | None) -> None:
    """Raise `UserError` unless a source is named exactly where an attack is transferred."""
    if (knowledge == "transfer") != (source is not None):
        need = "needs a `source`" if knowledge == "transfer" else "has no use for a `source`"
        raise UserError(f"threat model: knowledge {knowledge!r} {need}")


def refuse_unfit_budgets(
    attack: str, *, perturbs: Set[str], given: Set[str], threat_model: str = "its threat model"
) -> None:
    """Raise `UserError` unless an attack has a budget for just the modalities that it perturbs."""
    for modality in sorted(perturbs ^ given):
        need, state = (
            ("perturbs", "has none") if modality in perturbs else ("doesn't perturb", "has one")
        )
        raise UserError(
            f"{attack} {need} the {modality} but {threat_model} {state} for the {modality}"
        )
