"""Pictures drawn of captions by a diffusion model: text to image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mmrobust.augment.base import Modality, Pictures
from mmrobust.augment.diffusion import Diffusion


@dataclass(frozen=True, kw_only=True)
class TextDiffusion(Diffusion):
    """Another picture of the item's first caption; the item's own picture is not looked at.

    Stable Diffusion is the text-to-image generator of Waseda et al., arXiv:2405.18770. Its version
    and settings there are not known to us: steps and guidance are diffusers' defaults.
    """

    reads: ClassVar[Modality] = "caption"
    method: ClassVar[str] = "text_diffusion"
    task: ClassVar[str] = "AutoPipelineForText2Image"

    def options(self, pictures: Pictures) -> dict[str, Any]:
        """The size alone."""
        return {"height": self.size, "width": self.size}
