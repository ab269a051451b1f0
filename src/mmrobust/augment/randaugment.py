"""RandAugment without changes of colour: the same picture moved, turned and lit otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from mmrobust.augment.base import Augmenter, Generate, Made, Modality, Source, Sources
from mmrobust.errors import UserError, unknown_name
from mmrobust.quantities import Fraction, PositiveInt

Operation = Callable[[Tensor, float], Tensor]
"""Picture uint8 (C, H, W) and a strength in -1..1 to a picture of the same shape."""

_MAX_MAGNITUDE = 10
_APPLIED = 0.5
"""Probability that a drawn operation is applied, of ALBEF and BLIP."""
_TONE, _SHEAR, _ROTATION, _TRANSLATION = 0.9, 0.3, 30.0, 10 / 384
"""At full strength: change of a factor, slope, degrees, share of the side."""
_FILL = 128
_ASPECT = (3 / 4, 4 / 3)
"""Width over height of a crop, torchvision's default."""


@dataclass(frozen=True, kw_only=True)
class RandAugment(Augmenter):
    """The picture under a few random operations, none of which changes hue or saturation.

    RandAugment (Cubuk et al. 2020, arXiv:1909.13719) in the form of ALBEF (Li et al. 2021,
    arXiv:2107.07651: no changes of colour, since texts name colours) and BLIP (Li et al. 2022,
    arXiv:2201.12086): identity, autocontrast, equalize, brightness, sharpness, shears,
    translations and rotation, drawn with replacement, each then applied with probability 1/2.

    Fields:
        operations: how many are drawn for a picture.
        leave_out: names of operations that are not drawn.
        magnitude: 0..10, how strong they are; BLIP's 5 by default (ALBEF: 7). At 0, shears,
            translations, rotation, brightness and sharpness change nothing.
        crop_scale: smallest and largest share of the area that a random crop keeps before the
            operations; (1, 1) for no crop.
        horizontal_flip: whether half of the pictures are mirrored.

    Deviations:
        light: autocontrast, equalize, brightness and sharpness act on the value of HSV, and the
            channels follow in proportion. The released code acts on each channel, and then
            equalizing two colours, or brightening orange until red is cut off, changes hues.
            Words for lightness ("dark") may become false all the same: `leave_out` is for them.
        brightness, sharpness: the factor is 1 plus or minus 0.09 * magnitude. The released code
            has 0.1 + 0.18 * magnitude: nearly black at 0, no change at BLIP's 5.
        translation: by magnitude / 384 of the side, as the released code's pixels are of pictures
            of 384 pixels; its pixels would move small pictures far.
        shear: about the centre, not the upper left corner, so that less leaves the picture.
        crop_scale: off by default, (0.5, 1) in the released code. A crop cuts off what a caption
            names and moves the rest, where captions say what is on top or in a corner. The aspect
            ratio is drawn among those that fit, not drawn again until one does.
        horizontal_flip: off by default, since captions name left and right.
    """

    reads: ClassVar[Modality] = "image"
    writes: ClassVar[Modality] = "image"

    operations: PositiveInt = 2
    leave_out: tuple[str, ...] = ()
    magnitude: Annotated[int, Field(ge=0, le=_MAX_MAGNITUDE)] = 5
    crop_scale: tuple[Fraction, Fraction] = (1.0, 1.0)
    horizontal_flip: bool = False

    def __post_init__(self) -> None:
        low, high = self.crop_scale
        if not 0 < low <= high:
            raise UserError(
                "augmentations: randaugment: crop_scale: must be two shares of the area above 0, "
                f"the smaller first (got {low}, {high})"
            )
        for name in self.leave_out:
            if name not in OPERATIONS:
                raise unknown_name("operation in randaugment: leave_out:", name, OPERATIONS)
        if not self._names():
            raise UserError(
                "augmentations: randaugment: leave_out: must leave an operation to draw"
            )

    def _names(self) -> list[str]:
        return [name for name in OPERATIONS if name not in self.leave_out]

    def open(self, source: Source) -> Generate:
        """Look at the training pictures."""
        images = source.split.images

        def generate(sources: Sources, rng: np.random.Generator) -> Made:
            return Made(np.stack([self._change(images[row], rng) for row in sources.items]))

        return generate

    def _change(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """One picture uint8 (H, W, 3), H = W, changed at random."""
        picture = torch.tensor(image).permute(2, 0, 1)
        if self.crop_scale != (1.0, 1.0):
            picture = random_crop(picture, rng, self.crop_scale)
        if self.horizontal_flip and rng.random() < 0.5:
            picture = F.horizontal_flip(picture)
        names = self._names()
        for _ in range(self.operations):
            name, applied = names[rng.integers(len(names))], rng.random() < _APPLIED
            strength = float(rng.choice([-1.0, 1.0])) * self.magnitude / _MAX_MAGNITUDE
            if applied:
                picture = OPERATIONS[name](picture, strength)
        return picture.permute(1, 2, 0).numpy()


def random_crop(picture: Tensor, rng: np.random.Generator, scale: tuple[float, float]) -> Tensor:
    """A random part of a picture uint8 (C, S, S), with a share of its area in `scale`, as large."""
    side = picture.shape[-1]
    area = rng.uniform(*scale)
    low, high = (min(max(math.log(ratio), math.log(area)), -math.log(area)) for ratio in _ASPECT)
    ratio = math.exp(rng.uniform(low, high))
    height = max(1, round(side * math.sqrt(area / ratio)))
    width = max(1, round(side * math.sqrt(area * ratio)))
    top, left = (int(rng.integers(side - length + 1)) for length in (height, width))
    bicubic = InterpolationMode.BICUBIC
    crop = F.resized_crop(picture, top, left, height, width, [side, side], bicubic)
    return cast(Tensor, crop)


def _lit(change: Operation) -> Operation:
    """Let an operation act on the value of HSV; hue and saturation stay."""

    def apply(picture: Tensor, strength: float) -> Tensor:
        value = picture.amax(dim=0, keepdim=True)  # (1, H, W)
        changed = change(value, strength)
        lit = picture * (changed / value)  # black has no hue, and 0 / 0 is no number
        return torch.where(value > 0, lit, changed).round().to(torch.uint8)

    return apply


def _warped(
    picture: Tensor,
    *,
    angle: float = 0.0,
    translate: tuple[float, float] = (0.0, 0.0),
    shear: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """Turn, move (in pixels) and shear (in slopes) about the centre; grey where nothing was."""
    warped = F.affine(
        picture.float() - _FILL,  # torchvision's own `fill` darkens the rim of what was moved
        angle=angle,
        translate=list(translate),
        scale=1.0,
        shear=[math.degrees(math.atan(slope)) for slope in shear],
        interpolation=InterpolationMode.BILINEAR,
    )
    return cast(Tensor, (warped + _FILL).round().to(torch.uint8))


OPERATIONS: Mapping[str, Operation] = {
    "identity": lambda picture, strength: picture,
    "autocontrast": _lit(lambda value, strength: F.autocontrast(value)),
    "equalize": _lit(lambda value, strength: F.equalize(value)),
    "brightness": _lit(lambda value, strength: F.adjust_brightness(value, 1 + _TONE * strength)),
    "sharpness": _lit(lambda value, strength: F.adjust_sharpness(value, 1 + _TONE * strength)),
    "shear_x": lambda picture, strength: _warped(picture, shear=(_SHEAR * strength, 0.0)),
    "shear_y": lambda picture, strength: _warped(picture, shear=(0.0, _SHEAR * strength)),
    "translate_x": lambda picture, strength: _warped(
        picture, translate=(_TRANSLATION * strength * picture.shape[-1], 0.0)
    ),
    "translate_y": lambda picture, strength: _warped(
        picture, translate=(0.0, _TRANSLATION * strength * picture.shape[-2])
    ),
    "rotate": lambda picture, strength: _warped(picture, angle=_ROTATION * strength),
}
