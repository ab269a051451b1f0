"""An adaptive worst case: both modalities in turns against the gallery itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmrobust.attacks.base import Attack
from mmrobust.attacks.image_search.apgd import AdaptiveAscent
from mmrobust.attacks.objectives import (
    ImageObjective,
    TextObjective,
    away_from_image,
    soft_margin,
    soft_margin_i2t,
    soft_margin_t2i,
    text_soft_margin,
    text_soft_margin_t2i,
)
from mmrobust.attacks.steps import Alternate, ImageStep, Step, TextStep
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.quantities import PositiveInt

MARGINS: dict[str, tuple[ImageObjective, TextObjective]] = {
    "both": (soft_margin, text_soft_margin),
    "i2t": (soft_margin_i2t, away_from_image),
    "t2i": (soft_margin_t2i, text_soft_margin_t2i),
}
"""What images and captions raise, by direction; of i2t queries a caption's part is its pair."""


@dataclass(frozen=True, kw_only=True)
class Adaptive(Attack):
    """Text and image in turns until the loss stops rising, with restarts; of our own making.

    What is raised is what recall is judged by: the margin by which wrong items of the gallery
    stand above the right ones. Images are attacked by APGD, so that no step size is tuned to a
    defence, and every (word, substitute) pair is tried by beam search.

    Fields:
        direction: whose margin is raised: both together, which trade off against each other, or
            that of i2t or t2i queries alone, which takes more of the one.
        steps: gradient steps of each image attack.
        rounds: turns of text and image in a restart, at most.
        restarts: beginnings; later ones at a random image.
        text: the text search.
    """

    direction: Literal["both", "i2t", "t2i"] = "both"
    steps: PositiveInt = 20
    rounds: PositiveInt = 3
    restarts: PositiveInt = 2
    text: TextSearch = TextSearch(method="beam", beam_width=4)

    def recipe(self) -> tuple[Step, ...]:
        """One alternation."""
        margin, text_margin = MARGINS[self.direction]
        image = ImageStep(
            search=AdaptiveAscent(steps=self.steps), guide="current", objective=margin
        )
        text = TextStep(search=self.text, guide="current", objective=text_margin)
        return (
            Alternate(
                image=image,
                text=text,
                loss=margin,
                rounds=self.rounds,
                restarts=self.restarts,
            ),
        )
