"""What a training method is: a batch in, named losses out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict
from torch import Tensor

from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.objectives import pair_contrastive
from mmrobust.attacks.text_search.base import Language
from mmrobust.models.base import DualEncoder
from mmrobust.threat import ImageBudget


@dataclass(frozen=True)
class TrainingBatch:
    """Aligned pairs: images (B, 3, H, W) in [0, 1] and one caption for each."""

    images: Tensor
    captions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrainingMethod(ABC):
    """A frozen record of hyper-parameters with the losses that the one loop minimises."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    @abstractmethod
    def losses(
        self,
        model: DualEncoder,
        batch: TrainingBatch,
        *,
        language: Language,
        noise: ItemNoise,
    ) -> dict[str, Tensor]:
        """Named scalar losses, whose sum is minimised."""


def pair_loss(model: DualEncoder, images: Tensor, text: Tensor) -> Tensor:
    """CLIP's loss (): mean symmetric InfoNCE of images (B, 3, H, W) and their text (B, D)."""
    return pair_contrastive(model.encode_image(images), text, model.scale()).mean()


def adversarial_images(
    model: DualEncoder,
    images: Tensor,
    text: Tensor,
    *,
    search: GradientAscent,
    budget: ImageBudget,
    noise: ItemNoise,
) -> Tensor:
    """Images (B, 3, H, W) within `budget` that raise the contrastive loss against `text`.

    `text` (B, D) is held fixed; the model should be in eval mode.
    """
    text, scale = text.detach(), model.scale().detach()
    found = search(
        lambda x: pair_contrastive(model.encode_image(x), text, scale),
        images,
        start=None,
        budget=budget,
        noise=noise,
    )
    return found.images
