"""An adaptive worst case: both modalities in turns against the gallery itself."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.base import Attack
from mmrobust.attacks.image_search.apgd import AdaptiveAscent
from mmrobust.attacks.objectives import soft_margin, text_soft_margin
from mmrobust.attacks.steps import Alternate, ImageStep, Step, TextStep
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.quantities import PositiveInt


@dataclass(frozen=True, kw_only=True)
class Adaptive(Attack):
    """Text and image in turns until the loss stops rising, with restarts; of our own making.

    What is raised is what recall is judged by: the margin by which wrong items of the gallery
    stand above the right ones, in both directions. Images are attacked by APGD, so that no step
    size is tuned to a defence, and every (word, substitute) pair is tried by beam search.

    Fields:
        steps: gradient steps of each image attack.
        rounds: turns of text and image in a restart, at most.
        restarts: beginnings; later ones at a random image.
        text: the text search.
    """

    steps: PositiveInt = 20
    rounds: PositiveInt = 3
    restarts: PositiveInt = 2
    text: TextSearch = TextSearch(method="beam", beam_width=4)

    def recipe(self) -> tuple[Step, ...]:
        """One alternation."""
        image = ImageStep(
            search=AdaptiveAscent(steps=self.steps), guide="current", objective=soft_margin
        )
        text = TextStep(search=self.text, guide="current", objective=text_soft_margin)
        return (
            Alternate(
                image=image,
                text=text,
                loss=soft_margin,
                rounds=self.rounds,
                restarts=self.restarts,
            ),
        )
