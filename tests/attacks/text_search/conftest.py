"""A masked language model read from tables, and a text tower whose words have several tokens."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrobust.models.base import PiecePredictions

SPECIAL = ("[CLS]", "[SEP]", "[UNK]")
STARTS = ("a", "the", "man", "dog", "cat", "red", "run", "play", "sur", "straße", "é", "ice cream")
INNER = ("##ning", "##s", "##ing", "##f", "##er", "##ß")
PIECES = [*SPECIAL, *STARTS, *INNER]


class TableMaskedLM:
    """Scores depend on a piece and its place only; words are spelled by the longest piece first."""

    def __init__(self, *, context: int = 64, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(len(PIECES), len(PIECES), generator=generator)
        self.table[-len(INNER) :, -len(INNER) :] += 2  # inner pieces for inner pieces, as BERT does
        self.places = torch.randn(256, len(PIECES), generator=generator)
        self.context = context  # pieces of a caption, [CLS] and [SEP] not counted
        self.perplexity_calls: list[tuple[int, ...]] = []
        self.embedded: list[str] = []

    def pieces(self, word: str) -> list[int]:
        found: list[int] = []
        while word:
            mark = "##" if found else ""
            sizes = [n for n in range(len(word), 0, -1) if mark + word[:n] in PIECES]
            if not sizes:
                return [PIECES.index("[UNK]")]
            found.append(PIECES.index(mark + word[: sizes[0]]))
            word = word[sizes[0] :]
        return found

    def logits(self, caption: str) -> Tensor:
        """Scores (T, V), cut before the first word that doesn't fit."""
        words = [self.pieces(word) for word in caption.split(" ")]
        totals = itertools.accumulate(map(len, words))
        fitting = [word for word, n in zip(words, totals, strict=True) if n <= self.context]
        ids = [0, *itertools.chain(*fitting), 1]
        return self.table[ids] + self.places[: len(ids)]

    def predict(self, captions: Sequence[str], *, k: int) -> list[PiecePredictions]:
        found = []
        for caption in captions:
            counts = [len(self.pieces(word)) for word in caption.split(" ")]
            stops = list(itertools.accumulate(counts))
            spans = tuple((stop - n, stop) for stop, n in zip(stops, counts, strict=True))
            top = self.logits(caption).topk(min(k, len(PIECES)), dim=-1)
            found.append(PiecePredictions(ids=top.indices, scores=top.values, spans=spans))
        return found

    def perplexity(self, ids: Tensor) -> Tensor:
        self.perplexity_calls.append(tuple(ids.shape))
        likelihood = self.table.log_softmax(dim=1).diagonal()
        return (-likelihood[ids] * torch.arange(1, ids.shape[1] + 1)).mean(dim=1).exp()

    def piece(self, number: int) -> str:
        return PIECES[number]

    def join(self, numbers: Sequence[int]) -> str:
        return " ".join(PIECES[n] for n in numbers).replace(" ##", "")

    def embed(self, captions: Sequence[str]) -> Tensor:
        self.embedded += captions
        rows = [self.table[list(itertools.chain(*map(self.pieces, c.split(" "))))].mean(dim=0)
                for c in captions]  # fmt: skip
        return F.normalize(torch.stack(rows), dim=-1)


class SpelledEncoder(nn.Module):
    """Two letters a token between a start and an end token, which weighs most; a short context."""

    START, END = 1, 2

    def __init__(self, *, seed: int = 0, context: int = 12, width: int = 5, dim: int = 6) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.context = context
        self.table = nn.Parameter(torch.randn(64, width, generator=generator))
        self.places = nn.Parameter(torch.randn(context, width, generator=generator))
        self.mix = nn.Parameter(torch.randn(width, dim, generator=generator))
        self.rows_encoded: list[tuple[int, int]] = []
        self.seen: list[str] = []

    @property
    def device(self) -> torch.device:
        return self.table.device

    def scale(self) -> Tensor:
        return torch.tensor(10.0)

    def encode_image(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def word(self, word: str) -> list[int]:
        chunks = [word[i : i + 2] for i in range(0, len(word), 2)]
        return [3 + sum(ord(letter) * 7**i for i, letter in enumerate(c)) % 61 for c in chunks]

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        self.seen += captions
        rows = []
        for caption in captions:
            inner = list(itertools.chain(*map(self.word, caption.split(" "))))
            rows.append([self.START, *inner[: self.context - 2], self.END])
        longest = max(map(len, rows))
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows])

    def word_spans(self, caption: str) -> list[tuple[int, int]]:
        counts = [len(self.word(word)) for word in caption.split(" ")]
        stops = [1 + stop for stop in itertools.accumulate(counts)]
        return [(stop - n, stop) for stop, n in zip(stops, counts, strict=True)]

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        return self.table[tokens]

    def encode_tokens(self, tokens: Tensor, embedded: Tensor | None = None) -> Tensor:
        self.rows_encoded.append((tokens.shape[0], tokens.shape[1]))
        embedded = self.embed_tokens(tokens) if embedded is None else embedded
        hidden = torch.tanh(embedded + self.places[: tokens.shape[1]])
        weight = (tokens != 0).to(hidden) + 20 * (tokens == self.END)
        return F.normalize((hidden * weight.unsqueeze(-1)).sum(dim=1) @ self.mix, dim=-1)

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        return self.encode_tokens(self.tokenize(captions))


@pytest.fixture
def masked_lm() -> TableMaskedLM:
    return TableMaskedLM()
