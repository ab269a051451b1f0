"""PGD with diverse inputs on images alone."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.base import Attack
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.image_search.input_diversity import InputDiversity
from mmrobust.attacks.objectives import IMAGE_OBJECTIVES, ImageObjectiveName
from mmrobust.attacks.steps import ImageStep, Step
from mmrobust.quantities import Distance, NonNegativeFloat, PositiveInt


@dataclass(frozen=True, kw_only=True)
class DIFGSM(Attack):
    """Diverse inputs iterative FGSM, Xie et al. 2019, arXiv:1803.06978, section 3.

    Fields:
        step_size: length of a step in pixel units; None for 1.25 eps / steps.
        steps: number of steps.
        momentum: 0 for the paper's DI2-FGSM, 1 for its M-DI2-FGSM.
        diversity: how often and how far an image is shrunk and padded before each gradient.
        objective: what is maximised.

    Deviations:
        Steps are 1.25 eps / steps instead of one grey level, and images keep their size:
        `InputDiversity`.
    """

    step_size: Distance | None = None
    steps: PositiveInt = 10
    momentum: NonNegativeFloat = 0.0
    diversity: InputDiversity = InputDiversity()
    objective: ImageObjectiveName = "positive_pair"

    def recipe(self) -> tuple[Step, ...]:
        """One image step, guided by the original captions."""
        search = GradientAscent(
            step_size=self.step_size,
            steps=self.steps,
            random_start="none",
            momentum=self.momentum,
            diversity=self.diversity,
        )
        objective = IMAGE_OBJECTIVES[self.objective]
        return (ImageStep(search=search, guide="original", objective=objective),)
