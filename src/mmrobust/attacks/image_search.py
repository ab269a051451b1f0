"""Projected gradient ascent on pixels inside an l-inf ball."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from torch import Tensor

from mmrobust.quantities import NonNegativeFloat, PixelDistance, PositiveFloat, PositiveInt
from mmrobust.threat import ImageBudget

Objective = Callable[[Tensor], Tensor]
"""Images (B, 3, H, W) in [0, 1] to the value (B,) that each one maximises."""


def project(images: Tensor, original: Tensor, budget: ImageBudget) -> Tensor:
    """Nearest images (B, 3, H, W) within `budget` of `original` and within [0, 1]."""
    low = (original - budget.eps).clamp(min=0)
    high = (original + budget.eps).clamp(max=1)
    return torch.minimum(torch.maximum(images, low), high)


@dataclass(frozen=True, kw_only=True)
class SignGradientAscent:
    """PGD, Madry et al. 2018, arXiv:1706.06083, section 2: signed steps, then projection.

    With `scales`, each step follows the gradient summed over the image and over noisy rescaled
    copies of it: the image side of SGA (Lu et al. 2023, arXiv:2307.14061, section 4.2).

    Fields:
        step_size: length of a step in pixel units.
        steps: number of steps; the last iterate is returned.
        random_start: start at a uniform point of the ball.
        scales: factors by which the copies are rescaled and brought back; empty for plain PGD.
        noise_std: standard deviation of the Gaussian noise on each copy.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    step_size: PixelDistance = 0.5 / 255
    steps: PositiveInt = 10
    random_start: bool = True
    scales: tuple[PositiveFloat, ...] = ()
    noise_std: NonNegativeFloat = 0.05

    def __call__(
        self,
        objective: Objective,
        images: Tensor,
        *,
        budget: ImageBudget,
        generator: torch.Generator,
    ) -> Tensor:
        """Images (B, 3, H, W) within `budget` of `images` that raise the objective."""
        perturbed = images
        if self.random_start:
            start = torch.rand(images.shape, generator=generator).to(images.device)
            perturbed = project(images + budget.eps * (2 * start - 1), images, budget)
        for _ in range(self.steps):
            gradient = self._gradient(objective, perturbed, generator)
            perturbed = project(perturbed + self.step_size * gradient.sign(), images, budget)
        return perturbed

    def _gradient(self, objective: Objective, images: Tensor, generator: torch.Generator) -> Tensor:
        """Gradient (B, 3, H, W) of the summed objective over the image and its rescaled copies.

        One copy at a time, so that memory doesn't grow with the number of scales.
        """
        images = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(images).sum(), images)
        for scale in self.scales:
            noise = self.noise_std * torch.randn(images.shape, generator=generator)
            copy = _rescaled(images + noise.to(images.device), scale)
            gradient = gradient + torch.autograd.grad(objective(copy).sum(), images)[0]
        return gradient


def _rescaled(images: Tensor, scale: float) -> Tensor:
    """Shrink or enlarge by `scale`, clip to [0, 1], and come back to the original size.

    As in the released code the way back is not clipped: bicubic overshoot reaches the model.
    """
    height, width = images.shape[-2:]
    size = (max(1, int(height * scale)), max(1, int(width * scale)))
    resized = F.interpolate(images, size=size, mode="bicubic").clamp(0, 1)
    return F.interpolate(resized, size=(height, width), mode="bicubic")
