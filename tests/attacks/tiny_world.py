"""A world of 48 items that differ in several attributes, and a dual encoder that has learnt it."""

from __future__ import annotations

import copy
import itertools
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.objectives import Distractors
from mmrobust.attacks.run import RetrievalBatch
from mmrobust.attacks.text_search.base import Language
from mmrobust.models.base import PiecePredictions

KINDS = (
    "big,large,huge small,little,tiny wide,broad,stout tall,high,lofty long,lengthy,prolonged",
    "plain,blank,bare striped,barred,lined dotted,spotted,speckled faded,pale,dim shiny,glossy,wet",
    "red,crimson,scarlet blue,azure,navy green,lime,olive golden,amber,honey black,jet,ebony",
    "ring,hoop,circle star,spark,asterisk square,box,block cross,plus,saltire heart,love,core",
    "above,over,atop below,under,beneath beside,near,by behind,beyond,past touching,on,against",
)
VALUES = [[names.split(",") for names in kind.split(" ")] for kind in KINDS]
STOP_WORDS = ("a", "the", "is")
OTHERS = (*STOP_WORDS, "line")
NAMES = [name for kind in VALUES for names in kind for name in names]
WORDS = [*OTHERS, *NAMES]
ITEMS = [
    tuple((a + b * at + c * at * at) % 5 for at in range(5))
    for a, b, c in itertools.product(range(5), repeat=3)
][:48]
"""The value of each kind: polynomials modulo 5, so that two items differ in at least three."""
SIZE, DIM, UNKNOWN_WORDS = 8, 16, 256
USED = (0.6, 0.4, 0.0)
"""How often captions, in training too, use each name of a value: the model never saw the last."""


class TrainedEncoder(nn.Module):
    """One hidden layer for images; captions as sums of word vectors that know their place.

    Words that it doesn't know, misspelt ones say, share vectors that nothing has trained.
    """

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.hidden = nn.Parameter(torch.randn(48, 3 * SIZE * SIZE, generator=generator) / 14)
        self.out = nn.Parameter(torch.randn(DIM, 48, generator=generator) / 7)
        vocabulary = 1 + len(WORDS) + UNKNOWN_WORDS
        self.words = nn.Parameter(torch.randn(vocabulary, DIM, generator=generator) / 4)
        self.places = nn.Parameter(torch.randn(16, DIM, generator=generator) / 20)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.dropout = nn.Dropout(0.2)

    @property
    def device(self) -> torch.device:
        return self.words.device

    def scale(self) -> Tensor:
        return self.logit_scale.exp()

    def encode_image(self, images: Tensor) -> Tensor:
        pixels = self.dropout(images.flatten(1) - 0.5)
        return F.normalize(torch.tanh(pixels @ self.hidden.T) @ self.out.T, dim=-1)

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        rows = [[token(word) for word in caption.split(" ")] for caption in captions]
        longest = max(map(len, rows))
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows])

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        return self.words[tokens]

    def word_spans(self, caption: str) -> list[tuple[int, int]]:
        return [(at, at + 1) for at in range(len(caption.split(" ")))]

    def encode_tokens(self, tokens: Tensor, embedded: Tensor | None = None) -> Tensor:
        embedded = self.embed_tokens(tokens) if embedded is None else embedded
        placed = embedded * (1 + self.places[: tokens.shape[1]])
        return F.normalize((placed * (tokens != 0).unsqueeze(-1)).sum(dim=1), dim=-1)

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        return self.encode_tokens(self.tokenize(captions))


def token(word: str) -> int:
    """Number of a word; unknown ones are spread over what is behind the known."""
    if word in WORDS:
        return 1 + WORDS.index(word)
    return 1 + len(WORDS) + zlib.crc32(word.encode()) % UNKNOWN_WORDS


class NeighbourlyMaskedLM:
    """Expects words of the same kind in a word's place, and a little what follows it.

    "saltire" is two pieces, as words are that a real vocabulary lacks.
    """

    pieces = ("[CLS]", "[SEP]", *(w for w in WORDS if w != "saltire"), "salt", "##ire", "##s")

    def predict(self, captions: Sequence[str], *, k: int) -> list[PiecePredictions]:
        return [self._predict(caption, k) for caption in captions]

    def _predict(self, caption: str, k: int) -> PiecePredictions:
        rows, spans, at = ["[CLS]"], [], 0
        for word in caption.split(" "):
            own = ["salt", "##ire"] if word == "saltire" else [word]
            spans.append((at, at + len(own)))
            rows, at = rows + own, at + len(own)
        rows.append("[SEP]")
        scores = torch.stack(
            [torch.maximum(self._scores(own), self._scores(after) - 2)
             for own, after in itertools.pairwise([*rows, "[SEP]"])]
        )  # fmt: skip
        top = scores.topk(min(k, len(self.pieces)), dim=1)
        return PiecePredictions(ids=top.indices, scores=top.values, spans=tuple(spans))

    def _scores(self, piece: str) -> Tensor:
        """Scores (V,) of what stands in a piece's place: it, its like, and nothing else."""
        scores = torch.zeros(len(self.pieces))
        alike = self._alike(piece)
        scores[[self.pieces.index(other) for other in alike]] = 6 - 0.3 * torch.arange(len(alike))
        return scores

    def _alike(self, piece: str) -> list[str]:
        if piece in ("salt", "##ire"):
            return [piece, "##s"]
        kinds = [names for kind in VALUES for names in kind if piece in names]
        others = [*SYNONYMS.get(piece, ()), *ALTERNATIVES.get(piece, ())] if kinds else OTHERS
        return [piece, *(w for w in others if w in self.pieces and w != piece)]

    def perplexity(self, ids: Tensor) -> Tensor:
        return 1 + (ids * torch.arange(1, ids.shape[1] + 1)).sum(dim=1).float()

    def piece(self, number: int) -> str:
        return self.pieces[number]

    def join(self, numbers: Sequence[int]) -> str:
        return " ".join(self.pieces[n] for n in numbers).replace(" ##", "")

    def embed(self, captions: Sequence[str]) -> Tensor:
        counts = [[c.split(" ").count(word) for word in WORDS] for c in captions]
        return F.normalize(torch.tensor(counts).float() + 0.01, dim=-1)


SYNONYMS = {
    name: tuple(other for other in names if other != name)
    for kind in VALUES
    for names in kind
    for name in names
}
ALTERNATIVES = {
    name: tuple(others[0] for others in kind if name not in others)
    for kind in VALUES
    for names in kind
    for name in names
}
ANTONYMS = {big: tuple(VALUES[0][1]) for big in VALUES[0][0]} | {
    small: tuple(VALUES[0][0]) for small in VALUES[0][1]
}


def is_true(captions: Sequence[str], images: Sequence[int]) -> NDArray[np.bool_]:
    """Whether every word of a caption says nothing, or what is so of the image."""
    held = []
    for caption, image in zip(captions, images, strict=True):
        named = [VALUES[at][value] for at, value in enumerate(ITEMS[image])]
        fitting = {*OTHERS, *(name for names in named for name in names)}
        held.append(all(word in fitting for word in caption.split(" ")))
    return np.array(held, dtype=bool)


LANGUAGE = Language(
    synonyms=SYNONYMS,
    alternatives=ALTERNATIVES,
    antonyms=ANTONYMS,
    stop_words=frozenset(STOP_WORDS),
    masked_lm=NeighbourlyMaskedLM(),
    is_true=is_true,
)


@dataclass(frozen=True)
class TinyWorld:
    """The trained model, its items with their captions, and what attackers know."""

    model: TrainedEncoder
    images: Tensor
    captions: tuple[str, ...]
    caption_image: Tensor
    language: Language = LANGUAGE

    def batch(self, items: Sequence[int], *, gallery: bool = True) -> RetrievalBatch:
        """Items under attack, in the gallery of all or among themselves."""
        rows = [row for item in items for row in self.captions_of(item)]
        owners = [at for at, item in enumerate(items) for _ in self.captions_of(item)]
        return RetrievalBatch(
            images=self.images[list(items)],
            captions=tuple(self.captions[row] for row in rows),
            caption_image=torch.tensor(owners),
            numbers=tuple(items),
            distractors=self.gallery() if gallery else None,
            own=torch.tensor(list(items)) if gallery else None,
        )

    def captions_of(self, item: int) -> list[int]:
        """Rows of an item's captions."""
        return (self.caption_image == item).nonzero().flatten().tolist()

    @torch.no_grad()
    def gallery(self) -> Distractors:
        """Clean embeddings of everything."""
        model = copy.deepcopy(self.model).eval()
        return Distractors(
            model.encode_image(self.images), model.encode_text(self.captions), self.caption_image
        )

    def double(self) -> TinyWorld:
        """The same in double precision, where rounding decides nothing."""
        model = copy.deepcopy(self.model).double()
        return TinyWorld(model, self.images.double(), self.captions, self.caption_image)

    @torch.no_grad()
    def hits(self, images: Tensor, captions: Sequence[str]) -> NDArray[np.float64]:
        """Queries (N,) of each item answered at rank 1 under own_pair, ties against the model.

        Only the item's own image and captions are changed; the rest of the gallery is clean.
        """
        model, clean = copy.deepcopy(self.model).eval(), self.gallery()
        image, text = model.encode_image(images), model.encode_text(captions)
        own = self.caption_image[None, :] == torch.arange(len(images))[:, None]  # (N, C)
        pair = image @ text.T
        wrong_texts = (image @ clean.text.T).masked_fill(own, -torch.inf).amax(dim=1)
        right_text = pair.masked_fill(~own, -torch.inf).amax(dim=1)
        wrong_images = (clean.image @ text.T).masked_fill(own, -torch.inf).amax(dim=0)
        t2i = pair[self.caption_image, torch.arange(len(captions))] > wrong_images
        hits = (right_text > wrong_texts).double()
        return hits.index_add(0, self.caption_image, t2i.double()).numpy()

    def queries(self) -> NDArray[np.float64]:
        """Queries (N,) of each item: its image and its captions."""
        return np.array([1.0 + len(self.captions_of(item)) for item in range(len(ITEMS))])

    def recall(self, images: Tensor, captions: Sequence[str]) -> float:
        """Share of all queries answered at rank 1."""
        return float(self.hits(images, captions).sum() / self.queries().sum())


def noise(items: Sequence[int], seed: int = 0) -> ItemNoise:
    return ItemNoise.of(seed, "tests", items=items)


def _caption(item: Sequence[int], generator: np.random.Generator, used: Sequence[float]) -> str:
    size, pattern, colour, shape, place = (
        VALUES[at][value][generator.choice(3, p=used)] for at, value in enumerate(item)
    )
    if generator.random() < 0.5:
        return f"a {size} {pattern} {colour} {shape} {place} the line"
    return f"{place} the line is a {pattern} {size} {colour} {shape}"


def _pictures(generator: torch.Generator) -> Tensor:
    """(48, 3, H, W): a smooth pattern for each attribute's value, summed, and a little noise."""
    patterns = [
        F.interpolate(torch.randn(len(kind), 3, 3, 3, generator=generator), size=(SIZE, SIZE),
                      mode="bicubic")
        for kind in VALUES
    ]  # fmt: skip
    summed = torch.stack(
        [sum(patterns[at][value] for at, value in enumerate(item)) for item in ITEMS]  # type: ignore[misc]
    )
    noisy = 0.5 + 0.03 * summed + 0.02 * torch.randn(summed.shape, generator=generator)
    return noisy.clamp(0, 1)


def tiny_world(*, steps: int = 120) -> TinyWorld:
    """Make the items, train the model on them, and leave it in train mode."""
    generator, words = torch.Generator().manual_seed(5), np.random.default_rng(5)
    images = _pictures(generator)
    captions, owners = [], []
    for row, item in enumerate(ITEMS):
        for _ in range(2 + row % 2):
            captions.append(_caption(item, words, USED))
            owners.append(row)
    model = TrainedEncoder().eval()  # without dropout, which would draw from torch's own generator
    parameters = list(model.parameters())
    means = [torch.zeros(2, *parameter.shape) for parameter in parameters]
    for step in range(1, steps + 1):
        noisy = images + 0.02 * torch.randn(images.shape, generator=generator)
        text = model.encode_text([_caption(item, words, USED) for item in ITEMS])
        logits = model.scale() * model.encode_image(noisy) @ text.T
        aligned = torch.arange(len(logits))
        loss = (F.cross_entropy(logits, aligned) + F.cross_entropy(logits.T, aligned)) / 2
        for parameter, mean, gradient in zip(
            parameters, means, torch.autograd.grad(loss, parameters), strict=True
        ):  # Adam by hand: torch.optim takes seconds to import
            mean.mul_(torch.tensor([0.9, 0.99]).view(2, *[1] * gradient.ndim))
            mean.add_(torch.stack([0.1 * gradient, 0.01 * gradient**2]))
            first, second = mean[0] / (1 - 0.9**step), mean[1] / (1 - 0.99**step)
            parameter.data.sub_(0.01 * first / (second.sqrt() + 1e-8))
    return TinyWorld(model.train(), images, tuple(captions), torch.tensor(owners))
