"""FGSM on images alone."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.base import Attack
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.objectives import IMAGE_OBJECTIVES, ImageObjectiveName
from mmrobust.attacks.steps import ImageStep, Step


@dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """Fast gradient (sign) method, Goodfellow et al. 2015, arXiv:1412.6572, section 4.

    One step from the image itself to the edge of its budget; for l2 along the gradient.

    Fields:
        objective: what is maximised.

    Deviations:
        The paper raises a classifier's loss; here image and captions are driven apart.
    """

    objective: ImageObjectiveName = "positive_pair"

    def recipe(self) -> tuple[Step, ...]:
        """One image step, guided by the original captions."""
        search = GradientAscent(step_size=None, steps=1, random_start="none")
        objective = IMAGE_OBJECTIVES[self.objective]
        return (ImageStep(search=search, guide="original", objective=objective),)
