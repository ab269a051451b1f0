"""Budgets as objects: the l-inf and the l2 ball, so that a search is written once for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mmrobust.attacks.noise import ItemNoise
from mmrobust.threat import ImageBudget

_ROUNDING = 1 - 1e-10  # a recount may add the squares in another order


class Ball(Protocol):
    """All images within `eps` of an original and within [0, 1]."""

    @property
    def eps(self) -> float:
        """Radius in pixel units."""
        ...

    def size(self, perturbation: Tensor) -> Tensor:
        """Norm (B,) of perturbations (B, 3, H, W), float64."""
        ...

    def direction(self, gradient: Tensor) -> Tensor:
        """Step of unit size along which a gradient (B, 3, H, W) ascends the fastest.

        Zero where the gradient is.
        """
        ...

    def random_start(self, images: Tensor, noise: ItemNoise) -> Tensor:
        """Points (B, 3, H, W) of the ball around `images`, clipped to [0, 1]."""
        ...

    def project(self, images: Tensor, original: Tensor) -> Tensor:
        """Points (B, 3, H, W) near `images` within the ball, up to rounding."""
        ...

    def confine(self, images: Tensor, original: Tensor) -> Tensor:
        """The same, but with every rounding inwards: `size(images - original) <= eps` exactly."""
        ...


@dataclass(frozen=True)
class LinfBall:
    """No pixel moves by more than `eps`."""

    eps: float

    def size(self, perturbation: Tensor) -> Tensor:
        """Largest change (B,) of a pixel."""
        return perturbation.double().abs().flatten(1).amax(dim=1)

    def direction(self, gradient: Tensor) -> Tensor:
        """Sign of the gradient."""
        return gradient.sign()

    def random_start(self, images: Tensor, noise: ItemNoise) -> Tensor:
        """Uniform in the ball, then clipped to [0, 1]."""
        return self.project(images + self.eps * (2 * noise.uniform(images) - 1), images)

    def project(self, images: Tensor, original: Tensor) -> Tensor:
        """Nearest point of the ball within [0, 1]."""
        low = (original - self.eps).clamp(min=0)
        high = (original + self.eps).clamp(max=1)
        return torch.minimum(torch.maximum(images, low), high)

    def confine(self, images: Tensor, original: Tensor) -> Tensor:
        """Nearest float of the ball within [0, 1]."""
        low = _bound(original, -self.eps).clamp(min=0)
        high = _bound(original, self.eps).clamp(max=1)
        return torch.minimum(torch.maximum(images, low), high)


@dataclass(frozen=True)
class L2Ball:
    """The Euclidean norm of the change over all pixels and colours is at most `eps`."""

    eps: float

    def size(self, perturbation: Tensor) -> Tensor:
        """Euclidean norm (B,)."""
        return _norm(perturbation.double())

    def direction(self, gradient: Tensor) -> Tensor:
        """Gradient over its norm."""
        # By the largest entry first: squares of a tiny gradient would be lost.
        scaled = gradient / _column(gradient.abs().flatten(1).amax(dim=1), gradient)
        return scaled / _column(_norm(scaled), gradient)

    def random_start(self, images: Tensor, noise: ItemNoise) -> Tensor:
        """Uniform in the ball, then clipped to [0, 1]."""
        # The first draws (B, 1) give the radius, so that volume and not radius is uniform.
        volume = noise.uniform(images.new_empty(len(images), 1))
        radius = self.eps * volume ** (1 / images.shape[1:].numel())
        outwards = self.direction(noise.normal(images))
        return self.project(images + radius.view(-1, 1, 1, 1) * outwards, images)

    def project(self, images: Tensor, original: Tensor) -> Tensor:
        """Scaled back to the ball and then clipped to [0, 1], which moves it further inwards."""
        delta = images - original
        norm = self.size(delta)  # float64: squares of tiny changes would be lost
        shrunk = original + delta * (self.eps / _column(norm, norm)).to(delta.dtype)
        outside = (norm > self.eps).view(-1, 1, 1, 1)
        return torch.where(outside, shrunk, images).clamp(0, 1)

    def confine(self, images: Tensor, original: Tensor) -> Tensor:
        """Projected, then shrunk by what rounding added until nothing is left of it."""
        found = self.project(images, original)
        if self.eps == 0:
            return original.clone()
        limit = self.eps * _ROUNDING
        margin = 1e-7
        size = self.size(found.double() - original.double())
        while bool((outside := size > limit).any()):
            excess = (size / self.eps).view(-1, 1, 1, 1) * (1 + margin)
            shrunk = original.double() + (found.double() - original.double()) / excess
            found = torch.where(outside.view(-1, 1, 1, 1), shrunk.to(found.dtype), found)
            size = self.size(found.double() - original.double())
            margin *= 2  # rounding to the images' type may undo a smaller step
        return found


def ball_of(budget: ImageBudget) -> Ball:
    """The ball of an image budget."""
    return LinfBall(budget.eps) if budget.norm == "linf" else L2Ball(budget.eps)


def _norm(values: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(values.flatten(1), dim=1)
    return norm


def _column(norm: Tensor, like: Tensor) -> Tensor:
    """Norms (B,) to divide images by: (B, 1, 1, 1), above 0 in the type of `like`."""
    return norm.clamp(min=torch.finfo(like.dtype).tiny).view(-1, 1, 1, 1)


def _bound(original: Tensor, shift: float) -> Tensor:
    """Float furthest along `shift` whose distance from `original`, in float64, is within it."""
    exact = original.double()
    near = (exact + shift).to(original.dtype)
    beyond = (near.double() - exact).abs() > abs(shift)  # the sum has rounded outwards
    return torch.where(beyond, torch.nextafter(near, original), near)
