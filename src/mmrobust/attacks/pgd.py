"""PGD on images alone."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.base import Attack, ImageStep, Step
from mmrobust.attacks.image_search import SignGradientAscent
from mmrobust.quantities import PixelDistance, PositiveInt


@dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """PGD, Madry et al. 2018, arXiv:1706.06083, driving images away from their captions.

    Fields:
        step_size: length of a step in pixel units.
        steps: number of steps.

    Deviations:
        Co-Attack's image mode steps by 1.25 eps / steps from a one-sided start U(0, eps); here
        step and start are those of SGA's image side, so that PGD and SGA compare.
    """

    step_size: PixelDistance = 0.5 / 255
    steps: PositiveInt = 10

    def recipe(self) -> tuple[Step, ...]:
        """One image step, guided by the original captions."""
        search = SignGradientAscent(step_size=self.step_size, steps=self.steps)
        return (ImageStep(search=search, guide="original"),)
