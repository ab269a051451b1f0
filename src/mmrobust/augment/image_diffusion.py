"""Pictures painted over by a diffusion model: image to image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mmrobust.augment.base import Modality, Pictures
from mmrobust.augment.diffusion import Diffusion
from mmrobust.errors import UserError
from mmrobust.quantities import Fraction


@dataclass(frozen=True, kw_only=True)
class ImageDiffusion(Diffusion):
    """The item's picture with noise added and taken away again, led by its first caption.

    SDEdit (Meng et al. 2022, arXiv:2108.01073) in the space of a latent diffusion model.

    Fields:
        strength: how much of the noise is added, in (0, 1]: at 1 next to nothing is left of the
            picture. SDEdit finds pictures both faithful and real from 0.3 to 0.6; half by default,
            where diffusers has 0.8, so that the captions stay true. The last `strength * steps` of
            the steps are taken.
    """

    reads: ClassVar[Modality] = "image"
    prompted: ClassVar[bool] = True
    method: ClassVar[str] = "image_diffusion"
    task: ClassVar[str] = "AutoPipelineForImage2Image"

    strength: Fraction = 0.5

    def __post_init__(self) -> None:
        if int(self.steps * self.strength) < 1:
            raise UserError(
                f"{self.where}: strength: {self.strength} of {self.steps} steps is not one step; "
                f"allowed: from {1 / self.steps:g} to 1"
            )

    def options(self, pictures: Pictures) -> dict[str, Any]:
        """The pictures as large as the model draws, and how strongly they are painted over."""
        from PIL import Image

        size = (self.size, self.size)
        opened = [Image.fromarray(picture) for picture in pictures]
        enlarged = [picture.resize(size, Image.Resampling.BICUBIC) for picture in opened]
        return {"image": enlarged, "strength": self.strength}
