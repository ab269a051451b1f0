"""PGD with diverse inputs on images alone."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.image_attack import ImageAttack
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.image_search.input_diversity import InputDiversity
from mmrobust.quantities import Distance, NonNegativeFloat, PositiveInt


@dataclass(frozen=True, kw_only=True)
class DIFGSM(ImageAttack):
    """Diverse inputs iterative FGSM, Xie et al. 2019, arXiv:1803.06978, section 3.

    Fields:
        step_size: length of a step in pixel units; None for 1.25 eps / steps.
        steps: number of steps.
        momentum: 0 for the paper's DI2-FGSM, 1 for its M-DI2-FGSM.
        diversity: how often and how far an image is shrunk and padded before each gradient.

    Deviations:
        Steps are 1.25 eps / steps instead of one grey level, and images keep their size:
        `InputDiversity`.
    """

    step_size: Distance | None = None
    steps: PositiveInt = 10
    momentum: NonNegativeFloat = 0.0
    diversity: InputDiversity = InputDiversity()

    def search(self) -> GradientAscent:
        """Gradient ascent on diverse inputs from the image itself."""
        return GradientAscent(
            step_size=self.step_size,
            steps=self.steps,
            random_start="none",
            momentum=self.momentum,
            diversity=self.diversity,
        )
