"""A dual encoder small enough to reason about: linear images, words summed, no open_clip."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from tests.attacks.tiny_world import TinyWorld, tiny_world
from torch import Tensor, nn

from mmrobust.attacks.base import RetrievalBatch

WORDS = ["", "red", "crimson", "blue", "azure", "ring", "hoop", "star", "a", "big", "huge"]
LEXICON = {
    "red": ["crimson"],
    "blue": ["azure"],
    "ring": ["hoop"],
    "big": ["huge"],
}


class ToyEncoder(nn.Module):
    """Images through one linear map, captions as normalised sums of word vectors."""

    def __init__(self, *, seed: int = 0, size: int = 4, dim: int = 6) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(dim, 3 * size * size, generator=generator))
        self.words = nn.Parameter(torch.randn(len(WORDS), dim, generator=generator))
        self.dropout = nn.Dropout(0.5)
        self.rows_encoded = 0

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def scale(self) -> Tensor:
        return torch.tensor(10.0)

    def encode_image(self, images: Tensor) -> Tensor:
        return F.normalize(self.project_image(images), dim=-1)

    def project_image(self, images: Tensor) -> Tensor:
        return self.dropout(images.flatten(1) - 0.5) @ self.weight.T

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        rows = [[WORDS.index(word) for word in caption.split(" ")] for caption in captions]
        longest = max(map(len, rows))
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows])

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        return self.words[tokens]

    def word_spans(self, caption: str) -> list[tuple[int, int]]:
        return [(at, at + 1) for at in range(len(caption.split(" ")))]

    def encode_tokens(self, tokens: Tensor, embedded: Tensor | None = None) -> Tensor:
        return F.normalize(self.project_tokens(tokens, embedded), dim=-1)

    def project_tokens(self, tokens: Tensor, embedded: Tensor | None = None) -> Tensor:
        self.rows_encoded += len(tokens)
        embedded = self.embed_tokens(tokens) if embedded is None else embedded
        return (embedded * (tokens != 0).unsqueeze(-1)).sum(dim=1)

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        return self.encode_tokens(self.tokenize(captions))


@pytest.fixture
def model() -> ToyEncoder:
    return ToyEncoder().train()


@pytest.fixture
def batch() -> RetrievalBatch:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(3, 3, 4, 4, generator=generator)
    images[0, 0], images[1, 1] = 0.0, 1.0  # the edges of the pixel range
    captions = ("a big red ring", "a blue star", "big red star", "a ring", "star")
    return RetrievalBatch(images, captions, torch.tensor([0, 0, 1, 2, 2]))


@pytest.fixture(scope="session")
def world() -> TinyWorld:
    """A trained model and its items; nobody may change it for those who come later."""
    return tiny_world()
