"""Random shrinking and padding of what a model is shown, so that an attack carries over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from torch import Tensor

from mmrobust.attacks.noise import ItemNoise
from mmrobust.quantities import Fraction


@dataclass(frozen=True, kw_only=True)
class InputDiversity:
    """DI-FGSM's transformation, Xie et al. 2019, arXiv:1803.06978, section 3.2.

    Fields:
        probability: share of the images that are shrunk; the others stay as they are.
        resize_rate: smallest height of a shrunk image over its height before.

    Deviations:
        The paper enlarges (299 to 299..330 pixels) and shows the model the larger image. A model
        of fixed input size can't be, so the image is shrunk and padded back to its size, by
        bilinear and not nearest-neighbour interpolation, as in the common PyTorch port.
        The height is uniform over all whole pixels from `resize_rate` to the full height, both
        included, and the width follows it; the port draws for the batch, here each image has
        draws of its own.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    probability: Fraction = 0.5
    resize_rate: Fraction = 0.9

    def __call__(self, images: Tensor, noise: ItemNoise) -> Tensor:
        """Images (B, 3, H, W), some of them shrunk and zero padded; gradients flow through."""
        draws = noise.uniform(torch.empty(len(images), 4)).tolist()
        return torch.stack(
            [self._shown(image, *row) for image, row in zip(images, draws, strict=True)]
        )

    def _shown(self, image: Tensor, apply: float, size: float, top: float, left: float) -> Tensor:
        """One image (3, H, W) under its four draws in [0, 1)."""
        if apply >= self.probability:
            return image
        height, width = image.shape[-2:]
        lowest = max(1, int(height * self.resize_rate))
        rows = lowest + int(size * (height - lowest + 1))
        columns = max(1, round(width * rows / height))
        small = F.interpolate(image[None], size=(rows, columns), mode="bilinear")[0]
        above = int(top * (height - rows + 1))
        before = int(left * (width - columns + 1))
        return F.pad(small, (before, width - columns - before, above, height - rows - above))
