"""Projected gradient ascent: FGSM, PGD and their momentum, diversity and multi-scale variants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict
from torch import Tensor

from mmrobust.attacks.image_search.balls import ball_of
from mmrobust.attacks.image_search.base import Found, Objective
from mmrobust.attacks.image_search.input_diversity import InputDiversity
from mmrobust.attacks.image_search.rescaling import multi_scale_gradient
from mmrobust.attacks.noise import ItemNoise
from mmrobust.quantities import Distance, NonNegativeFloat, PositiveFloat, PositiveInt
from mmrobust.threat import ImageBudget


@dataclass(frozen=True, kw_only=True)
class GradientAscent:
    """PGD, Madry et al. 2018, arXiv:1706.06083, section 2: unit steps uphill, then projection.

    A step is the gradient's sign under l-inf and the gradient over its norm under l2. One step of
    length eps from the original is FGSM (Goodfellow et al. 2015, arXiv:1412.6572).

    Fields:
        step_size: length of a step in pixel units; None for 1.25 eps / steps, as in Co-Attack's
            released code.
        steps: number of steps; the last iterate is returned.
        random_start: uniform (in the ball), one_sided (original plus U(0, eps) per pixel, the
            start of Co-Attack's released code; uniform under l2, which has no such side) or none
            (the original itself).
        momentum: decay of the sum of gradients, each over its l1 norm, that is followed instead
            of the gradient (MI-FGSM, Dong et al. 2018, arXiv:1710.06081, algorithm 1); 0 for none.
        scales: rescaled copies whose gradients are added (SGA); empty for plain PGD.
        noise_std: standard deviation of the Gaussian noise on each copy.
        diversity: transformation of whatever the objective is shown, image and copies, drawn
            anew each time (DI-FGSM, Xie et al. 2019, arXiv:1803.06978); None for none.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    uses_gradients: ClassVar[bool] = True

    step_size: Distance | None = 0.5 / 255
    steps: PositiveInt = 10
    random_start: Literal["uniform", "one_sided", "none"] = "uniform"
    momentum: NonNegativeFloat = 0.0
    scales: tuple[PositiveFloat, ...] = ()
    noise_std: NonNegativeFloat = 0.05
    diversity: InputDiversity | None = None

    def __call__(
        self,
        objective: Objective,
        images: Tensor,
        *,
        start: Tensor | None,
        budget: ImageBudget,
        noise: ItemNoise,
    ) -> Found:
        """The last iterate and the one before; with `start` there is no random start."""
        ball = ball_of(budget)
        step_size = step_length(self.step_size, budget, self.steps)
        shown = self._shown(objective, noise)
        current = self._start(images, budget, noise) if start is None else start
        previous, velocity = current, torch.zeros_like(images)
        for _ in range(self.steps):
            uphill = multi_scale_gradient(
                shown, current, scales=self.scales, noise_std=self.noise_std, noise=noise
            )
            if self.momentum:
                uphill = velocity = self.momentum * velocity + _of_unit_l1_norm(uphill)
            moved = current + step_size * ball.direction(uphill)
            previous, current = current, ball.project(moved, images)
        return Found(images=current, previous=previous)

    def _shown(self, objective: Objective, noise: ItemNoise) -> Objective:
        """The objective behind the transformation of its input."""
        diversity = self.diversity
        if diversity is None:
            return objective
        return lambda images: objective(diversity(images, noise))

    def _start(self, images: Tensor, budget: ImageBudget, noise: ItemNoise) -> Tensor:
        if self.random_start == "none":
            return images
        ball = ball_of(budget)
        if self.random_start == "uniform" or budget.norm != "linf":
            return ball.random_start(images, noise)
        return ball.project(images + budget.eps * noise.uniform(images), images)


def step_length(step_size: float | None, budget: ImageBudget, steps: int) -> float:
    """Length of each of `steps` steps: what is asked for, or 1.25 eps / steps."""
    return 1.25 * budget.eps / steps if step_size is None else step_size


def _of_unit_l1_norm(gradient: Tensor) -> Tensor:
    norm = gradient.abs().sum(dim=(1, 2, 3), keepdim=True)
    return gradient / norm.clamp(min=torch.finfo(gradient.dtype).tiny)
