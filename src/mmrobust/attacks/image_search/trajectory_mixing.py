"""DRA's image search: gradients taken inside the triangle that the trajectory spans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from mmrobust.attacks.image_search.balls import Ball, ball_of
from mmrobust.attacks.image_search.base import Found, Objective
from mmrobust.attacks.image_search.gradient_ascent import step_length
from mmrobust.attacks.image_search.rescaling import multi_scale_gradient
from mmrobust.attacks.noise import ItemNoise
from mmrobust.quantities import Distance, NonNegativeFloat, PositiveFloat, PositiveInt
from mmrobust.threat import ImageBudget


@dataclass(frozen=True, kw_only=True)
class TrajectoryMixing:
    """Adversarial-trajectory mixing, Gao et al. 2024, arXiv:2403.12445, and its released code.

    After a first step as in SGA, each step tries random mixtures of the current iterate, the
    original and the iterate before: the mixture whose gradient, followed from the current
    iterate, raises the objective most is where the multi-scale gradient of the step is taken.

    Fields:
        step_size: length of a step in pixel units (released code: a quarter of eps); None for
            1.25 eps / steps.
        steps: number of steps (released code: 10).
        samples: mixtures tried per step (released code: 5).
        scales: rescaled copies whose gradients are added (released code: these four).
        noise_std: Gaussian noise on each copy (released code: 0.05).

    Deviations:
        The mixture is chosen for each image by its own objective, in the released code for the
        whole batch by the mean: images don't interact here, and in a batch of one it is the same.
        Under l2, which the paper doesn't treat, steps follow the gradient over its norm.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    uses_gradients: ClassVar[bool] = True

    step_size: Distance | None = 0.5 / 255
    steps: PositiveInt = 10
    samples: PositiveInt = 5
    scales: tuple[PositiveFloat, ...] = (0.5, 0.75, 1.25, 1.5)
    noise_std: NonNegativeFloat = 0.05

    def __call__(
        self,
        objective: Objective,
        images: Tensor,
        *,
        start: Tensor | None,
        budget: ImageBudget,
        noise: ItemNoise,
    ) -> Found:
        """The last iterate and the one before."""
        ball = ball_of(budget)
        length = step_length(self.step_size, budget, self.steps)
        current = ball.random_start(images, noise) if start is None else start
        previous, at = current, current
        for step in range(self.steps):
            if step > 0:
                at = self._best_mixture(
                    objective, (current, images, previous), ball, noise, length=length
                )
            uphill = multi_scale_gradient(
                objective, at, scales=self.scales, noise_std=self.noise_std, noise=noise
            )
            moved = current + length * ball.direction(uphill)
            previous, current = current, ball.project(moved, images)
        return Found(images=current, previous=previous)

    def _best_mixture(
        self,
        objective: Objective,
        corners: tuple[Tensor, ...],
        ball: Ball,
        noise: ItemNoise,
        *,
        length: float,
    ) -> Tensor:
        """Mixture (B, 3, H, W) of the corners whose gradient helps the first corner most.

        As in the released code the trial step is not projected.
        """
        best, highest = corners[0], torch.empty(0)
        for sample in range(self.samples):
            mixture = _mixed(corners, noise)
            uphill = ball.direction(multi_scale_gradient(objective, mixture, noise=noise))
            with torch.no_grad():
                value = objective(corners[0] + length * uphill)
            if sample == 0:
                best, highest = mixture, value
                continue
            best = torch.where((value > highest).view(-1, 1, 1, 1), mixture, best)
            highest = torch.maximum(highest, value)
        return best


def _mixed(corners: tuple[Tensor, ...], noise: ItemNoise) -> Tensor:
    """Mixture (B, 3, H, W) of three corners, by weights of its own for each item."""
    percent = [_percentages(noise.take([row])) for row in range(len(noise))]
    weights = torch.tensor(percent, dtype=corners[0].dtype, device=corners[0].device) / 100
    mixed = torch.zeros_like(corners[0])
    for corner, weight in zip(corners, weights.unbind(dim=1), strict=True):
        mixed = mixed + weight.view(-1, 1, 1, 1) * corner
    return mixed


def _percentages(noise: ItemNoise) -> tuple[int, int, int]:
    """Three positive whole numbers that sum to 100, drawn for one item as in the released code."""
    while True:
        first = 1 + int(noise.integers(100))
        if first >= 99:
            return 98, 1, 1
        second = 1 + int(noise.integers(100 - first))
        if first + second < 100:
            return first, second, 100 - first - second
