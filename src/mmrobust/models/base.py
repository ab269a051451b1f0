"""What attacks, training and evaluation may expect of a dual encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn


class DualEncoder(Protocol):
    """A model that embeds images and captions in one space.

    Normalisation of pixels and tokenisation happen inside, so that budgets are counted in
    pixels of [0, 1] and in words, whatever the model.
    """

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        ...

    def scale(self) -> Tensor:
        """Factor (), > 0, on cosine similarities before the softmax: exp of `logit_scale`."""
        ...

    def encode_image(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) in [0, 1] as unit vectors (B, D)."""
        ...

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        """Token ids (B, T), int64, on the CPU; T is the longest caption's length, rest padded."""
        ...

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Embed token ids (B, T) as unit vectors (B, D)."""
        ...

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """Embed captions as unit vectors (B, D)."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """All modules, so that their train/eval mode can be set aside and restored."""
        ...
