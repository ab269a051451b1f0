"""Sep-Attack: both modalities, each on its own."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.base import Attack
from mmrobust.attacks.bert_attack import bert_search
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.objectives import away_from_text, embedding_divergence
from mmrobust.attacks.steps import ImageStep, Step, TextStep
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.quantities import Distance, PositiveInt


@dataclass(frozen=True, kw_only=True)
class SepAttack(Attack):
    """Sep-Attack, the baseline of Co-Attack (Zhang et al. 2022, arXiv:2206.09391, section 3).

    The caption leaves its own clean embedding and so does the image; neither knows of the other.

    Fields:
        step_size: length of an image step; None for 1.25 eps / steps, as released.
        steps: number of image steps (released code: 10).
        text: the text search; by default that of the released code.

    Deviations:
        An image is attacked once and not once for each of its captions, of which the released
        evaluation keeps the last. The text search deviates as
        `bert_attack_released` does.
    """

    step_size: Distance | None = None
    steps: PositiveInt = 10
    text: TextSearch = bert_search(aligned=False)

    def recipe(self) -> tuple[Step, ...]:
        """Text and image, each by its own clean embedding."""
        search = GradientAscent(
            step_size=self.step_size, steps=self.steps, random_start="one_sided"
        )
        return (
            TextStep(search=self.text, guide="original", objective=away_from_text),
            ImageStep(search=search, guide="original", objective=embedding_divergence),
        )
