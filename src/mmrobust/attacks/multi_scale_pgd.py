"""SGA's image side on images alone."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.base import Attack
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.objectives import IMAGE_OBJECTIVES, ImageObjectiveName
from mmrobust.attacks.steps import ImageStep, Step
from mmrobust.quantities import Distance, NonNegativeFloat, PositiveFloat, PositiveInt


@dataclass(frozen=True, kw_only=True)
class MultiScalePGD(Attack):
    """PGD guided over several scales: SGA's image step against the original captions.

    Lu et al. 2023, arXiv:2307.14061, section 4.2.

    Fields:
        step_size: length of a step in pixel units (released code: 0.5/255); None for
            1.25 eps / steps, which suits any norm.
        steps: number of steps (released code: 10).
        scales: rescaled copies that guide the image beside itself (released code: these four).
        noise_std: Gaussian noise on each copy (released code: 0.05).
        objective: what is maximised.

    Deviations:
        Copies are resized as in `sga`.
    """

    step_size: Distance | None = 0.5 / 255
    steps: PositiveInt = 10
    scales: tuple[PositiveFloat, ...] = (0.5, 0.75, 1.25, 1.5)
    noise_std: NonNegativeFloat = 0.05
    objective: ImageObjectiveName = "positive_pair"

    def recipe(self) -> tuple[Step, ...]:
        """One image step, guided by the original captions."""
        search = GradientAscent(
            step_size=self.step_size,
            steps=self.steps,
            scales=self.scales,
            noise_std=self.noise_std,
        )
        objective = IMAGE_OBJECTIVES[self.objective]
        return (ImageStep(search=search, guide="original", objective=objective),)
