"""What attacks, training and evaluation may expect of a dual encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """What the text tower reads for token ids (B, T): (B, T, W), before positions."""
        ...

    def encode_tokens(self, tokens: Tensor, embedded: Tensor | None = None) -> Tensor:
        """Embed token ids (B, T) as unit vectors (B, D).

        `embedded` (B, T, W) stands in for `embed_tokens(tokens)` where gradients with respect to
        it are wanted.
        """
        ...

    def word_spans(self, caption: str) -> list[tuple[int, int]]:
        """Rows [start, stop) of `tokenize([caption])` that each word of a caption takes."""
        ...

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """Embed captions as unit vectors (B, D)."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """All modules, so that their train/eval mode can be set aside and restored."""
        ...


class ProjectingEncoder(DualEncoder, Protocol):
    """A dual encoder that also gives its embeddings before they are normalised."""

    def project_image(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) in [0, 1] as vectors (B, D) of any norm."""
        ...

    def project_tokens(self, tokens: Tensor) -> Tensor:
        """Embed token ids (B, T) as vectors (B, D) of any norm."""
        ...


@dataclass(frozen=True)
class PiecePredictions:
    """What a masked language model expects at each position of a caption.

    Fields:
        ids: (T, k) the k likeliest word pieces of each position, best first; row 0 is [CLS].
        scores: (T, k) their logits.
        spans: first and one past the last piece of each word, counted without [CLS]: word w has
            rows start + 1 to stop + 1 of `ids`. A word beyond the context starts behind them.
    """

    ids: Tensor
    scores: Tensor
    spans: tuple[tuple[int, int], ...]


class MaskedLanguageModel(Protocol):
    """A BERT as text attacks use it: which words would stand here, and how alike texts are."""

    def predict(self, captions: Sequence[str], *, k: int) -> list[PiecePredictions]:
        """Predictions for the captions as they are, without masking any word."""
        ...

    def perplexity(self, ids: Tensor) -> Tensor:
        """Perplexity (N,) of sequences of pieces (N, L) taken by themselves."""
        ...

    def piece(self, number: int) -> str:
        """A piece as text; the inner ones of a word keep their mark `##`."""
        ...

    def join(self, numbers: Sequence[int]) -> str:
        """Several pieces as text."""
        ...

    def embed(self, captions: Sequence[str]) -> Tensor:
        """Embed captions as unit vectors (C, H)."""
        ...
