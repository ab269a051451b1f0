"""PGD on images alone."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.image_attack import ImageAttack
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.quantities import Distance, PositiveInt


@dataclass(frozen=True, kw_only=True)
class PGD(ImageAttack):
    """PGD, Madry et al. 2018, arXiv:1706.06083, driving images away from their captions.

    Fields:
        step_size: length of a step in pixel units; None for 1.25 eps / steps.
        steps: number of steps.

    Deviations:
        Co-Attack's image mode steps by 1.25 eps / steps from a one-sided start U(0, eps) and
        maximises a divergence; here step and start are those of SGA's image side, so that PGD
        and SGA compare.
    """

    step_size: Distance | None = 0.5 / 255
    steps: PositiveInt = 10

    def search(self) -> GradientAscent:
        """Gradient ascent from a random start."""
        return GradientAscent(step_size=self.step_size, steps=self.steps)
