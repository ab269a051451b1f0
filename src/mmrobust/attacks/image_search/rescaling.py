"""Gradients over an image and its rescaled copies, the image side's guidance in SGA and DRA."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrobust.attacks.image_search.base import Objective
from mmrobust.attacks.noise import ItemNoise


def multi_scale_gradient(
    objective: Objective,
    images: Tensor,
    *,
    scales: tuple[float, ...] = (),
    noise_std: float = 0.0,
    noise: ItemNoise,
) -> Tensor:
    """Gradient (B, 3, H, W) of the objective summed over the images and noisy rescaled copies.

    SGA, Lu et al. 2023, arXiv:2307.14061, section 4.2. One copy at a time, so that memory doesn't
    grow with the number of scales; without scales it is the gradient at the images alone.

    Args:
        objective: what the gradient is of.
        images: where it is taken, (B, 3, H, W).
        scales: factors by which the copies are rescaled and brought back.
        noise_std: standard deviation of the Gaussian noise on each copy.
        noise: draws of the B items.

    Deviations:
        Copies are resized without antialiasing, as torch's default has it.
    """
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(images).sum(), images)
    for scale in scales:
        copy = rescaled(images + noise_std * noise.normal(images), scale)
        gradient = gradient + torch.autograd.grad(objective(copy).sum(), images)[0]
    return gradient


def rescaled(images: Tensor, scale: float) -> Tensor:
    """Shrink or enlarge by `scale`, clip to [0, 1], and come back to the original size.

    As in the released code the way back is not clipped: bicubic overshoot reaches the model.
    """
    height, width = images.shape[-2:]
    size = (max(1, int(height * scale)), max(1, int(width * scale)))
    return _resized(_resized(images, size).clamp(0, 1), (height, width))


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic interpolation, as two products: on small images far faster than torch's own."""
    height, width = images.shape[-2:]
    rows = _weights(height, size[0], images.dtype, images.device)
    columns = _weights(width, size[1], images.dtype, images.device)
    return rows @ images @ columns.T


@lru_cache(maxsize=64)
def _weights(size: int, to: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What each of `size` pixels in a line gives to each of `to`, (to, size)."""
    unit = torch.eye(size, dtype=dtype, device=device)[None, None]
    return F.interpolate(unit, size=(to, size), mode="bicubic")[0, 0]
