"""What a training method is: a batch in, named losses out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict
from torch import Tensor

from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.text_search.base import Language
from mmrobust.models.base import ProjectingEncoder

Towers = Literal["both", "image", "text"]
"""Which towers of a dual encoder train; the scale of similarities only trains with both."""


@dataclass(frozen=True)
class TrainingBatch:
    """Images and captions of the items of a step.

    Fields:
        images: (I, 3, H, W) in [0, 1].
        captions: C texts.
        positives: (I, C) bool, which of them are taken to belong together; each image has a
            caption, and each caption an image.
    """

    images: Tensor
    captions: tuple[str, ...]
    positives: Tensor


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a method may use beside the model and the batch.

    Fields:
        language: what is known of the captions' language.
        noise: draws of the I images of the batch.
        generator: of draws that belong to no image.
        original: the model that training started from, frozen and in eval mode; None unless the
            method asks for it.
    """

    language: Language
    noise: ItemNoise
    generator: torch.Generator
    original: ProjectingEncoder | None = None

    def require_original(self) -> ProjectingEncoder:
        """The original model, which the loop keeps for methods that ask for it."""
        assert self.original is not None
        return self.original


@dataclass(frozen=True, kw_only=True)
class TrainingMethod(ABC):
    """A frozen record of hyper-parameters with the losses that the one loop minimises."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    needs_original: ClassVar[bool] = False
    """Whether the method is held to the model that it starts from."""

    @abstractmethod
    def trained(self) -> Towers:
        """The towers that train."""

    @abstractmethod
    def losses(
        self, model: ProjectingEncoder, batch: TrainingBatch, setting: Setting
    ) -> dict[str, Tensor]:
        """Named scalar losses, whose sum is minimised."""


@dataclass(frozen=True, kw_only=True)
class ContrastiveMethod(TrainingMethod):
    """A method whose losses compare images with captions, so that either tower can train.

    Fields:
        towers: which ones do.
    """

    towers: Towers = "both"

    def trained(self) -> Towers:
        """As configured."""
        return self.towers
