"""SGA's image side on images alone."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.image_attack import ImageAttack
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.quantities import Distance, NonNegativeFloat, PositiveFloat, PositiveInt


@dataclass(frozen=True, kw_only=True)
class MultiScalePGD(ImageAttack):
    """PGD guided over several scales: SGA's image step against the original captions.

    Lu et al. 2023, arXiv:2307.14061, section 4.2.

    Fields:
        step_size: length of a step in pixel units (released code: 0.5/255); None for
            1.25 eps / steps, which suits any norm.
        steps: number of steps (released code: 10).
        scales: rescaled copies that guide the image beside itself (released code: these four).
        noise_std: Gaussian noise on each copy (released code: 0.05).

    Deviations:
        Copies are resized as in `sga`.
    """

    step_size: Distance | None = 0.5 / 255
    steps: PositiveInt = 10
    scales: tuple[PositiveFloat, ...] = (0.5, 0.75, 1.25, 1.5)
    noise_std: NonNegativeFloat = 0.05

    def search(self) -> GradientAscent:
        """Gradient ascent over rescaled copies."""
        return GradientAscent(
            step_size=self.step_size,
            steps=self.steps,
            scales=self.scales,
            noise_std=self.noise_std,
        )
