"""PGD with momentum on images alone."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.image_attack import ImageAttack
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.quantities import Distance, NonNegativeFloat, PositiveInt


@dataclass(frozen=True, kw_only=True)
class MIFGSM(ImageAttack):
    """Momentum iterative FGSM, Dong et al. 2018, arXiv:1710.06081, section 3.

    Fields:
        step_size: length of a step in pixel units; None for 1.25 eps / steps.
        steps: number of steps.
        momentum: decay of the gradients summed up, each over its l1 norm (paper: 1).

    Deviations:
        The paper steps by eps / steps, which just reaches the edge of the budget; 1.25 times as
        far, as Co-Attack does, reaches it also if some steps turn back.
    """

    step_size: Distance | None = None
    steps: PositiveInt = 10
    momentum: NonNegativeFloat = 1.0

    def search(self) -> GradientAscent:
        """Gradient ascent with momentum from the image itself."""
        return GradientAscent(
            step_size=self.step_size,
            steps=self.steps,
            random_start="none",
            momentum=self.momentum,
        )
