"""Co-Attack: the image against its clean self and against the perturbed caption."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from mmrobust.attacks.base import Attack
from mmrobust.attacks.bert_attack import bert_search
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.objectives import away_from_text, joint_divergence
from mmrobust.attacks.steps import ImageStep, Step, TextStep
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.quantities import Distance, NonNegativeFloat, PositiveInt


@dataclass(frozen=True, kw_only=True)
class CoAttack(Attack):
    """Co-Attack, Zhang et al. 2022, arXiv:2206.09391, section 3, in its form for embeddings.

    Fields:
        alpha: weight of the text term (released code: 3).
        step_size: length of an image step; None for 1.25 eps / steps, as released.
        steps: number of image steps (released code: 10).
        text: the text search; by default that of the released code.

    Deviations:
        The released code attacks an image once for each of its captions and scores the last; here
        it is attacked once, by the mean of the text terms over its captions. The released code
        then attacks the original caption again: the same attack without an image, with the same
        outcome, so it is not repeated here. The text search deviates as
        `bert_attack_released` does.
    """

    alpha: NonNegativeFloat = 3.0
    step_size: Distance | None = None
    steps: PositiveInt = 10
    text: TextSearch = bert_search(aligned=False)

    def recipe(self) -> tuple[Step, ...]:
        """Text by its clean embedding, then image by its clean embedding and that text."""
        search = GradientAscent(
            step_size=self.step_size, steps=self.steps, random_start="one_sided"
        )
        objective = partial(joint_divergence, alpha=self.alpha)
        return (
            TextStep(search=self.text, guide="original", objective=away_from_text),
            ImageStep(search=search, guide="current", objective=objective),
        )
