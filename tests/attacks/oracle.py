"""SGA, DRA and Co-Attack as plain loops, to hold the batched attacks against.

Written from the description of the procedures alone. One caption, one image and one step at a
time, nothing kept and nothing shared; nothing of the package is used but the model that is handed
in. `pad_to` makes it pad text as the released procedure does, which changes its cost only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

Value = Callable[[Tensor], Tensor]
"""Embeddings (R, D) of changes of one caption -> what is maximised (R,)."""


class Draws(Protocol):
    """Where one image's random numbers come from."""

    def uniform(self, like: Tensor) -> Tensor: ...

    def normal(self, like: Tensor) -> Tensor: ...

    def integers(self, high: int) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class TextAttack:
    """The text step of the released procedure, on one caption.

    Fields:
        model: the dual encoder.
        bert: a masked language model of transformers.
        pieces: its tokenizer.
        stop_words: words that are neither replaced nor put in.
        aligned: whether a word takes the predictions at its own place; released: False.
        k: predictions a piece.
        threshold: raw score below which a prediction is cut; 0 for none.
        words: how many words may change.
        pad_to: tokens to which text is padded, for both models; None: not at all.
        rows: how many rows the text tower was shown, counted in place 0.
    """

    model: Any
    bert: Any
    pieces: Any
    stop_words: frozenset[str]
    aligned: bool = False
    k: int = 10
    threshold: float = 0.3
    words: int = 1
    pad_to: int | None = None
    rows: list[int] = field(default_factory=lambda: [0])

    @torch.no_grad()
    def __call__(self, caption: str, value: Value) -> str:
        """The caption after the walk over its words, the most important first."""
        original = caption.split(" ")
        ids, scores = self.predictions(caption)
        spans = self.spans(original)
        current, changed = list(original), 0
        for place in self.order(caption):
            if changed >= self.words:
                break
            word = original[place]
            if word in self.stop_words:
                continue
            options = [word]
            start, stop = spans[place]
            shift = 1 if self.aligned else 0
            for other in self.substitutes(
                ids[start + shift : stop + shift], scores[start + shift : stop + shift]
            ):
                refused = other == word or "##" in other or other in self.stop_words
                # Ours: a word is replaced by one word.
                if not refused and " " not in other:
                    options.append(other)
            texts = [" ".join([*current[:place], o, *current[place + 1 :]]) for o in options]
            current[place] = options[int(value(self.embed(texts)).argmax())]
            changed += current[place] != word
        return " ".join(current)

    def embed(self, captions: Sequence[str]) -> Tensor:
        """Embeddings (R, D), all rows in one batch."""
        self.rows[0] += len(captions)
        tokens = self.model.tokenize(captions)
        if self.pad_to is not None:
            tokens = F.pad(tokens, (0, self.pad_to - tokens.shape[1]))
        with torch.no_grad():
            embedded: Tensor = self.model.encode_tokens(tokens)
        return embedded

    def order(self, caption: str) -> list[int]:
        """Places of all words by how far the embedding moves when the word is hidden."""
        words = caption.split(" ")
        hidden = [" ".join([*words[:i], "[UNK]", *words[i + 1 :]]) for i in range(len(words))]
        before = self.embed([caption]).repeat(len(words), 1)
        scores = kl(before.double(), self.embed(hidden).double()).tolist()
        return sorted(range(len(words)), key=lambda place: scores[place], reverse=True)

    def predictions(self, caption: str) -> tuple[Tensor, Tensor]:
        """Ids and scores (T, k) of what is expected at each place, [CLS] the first of them."""
        padded: dict[str, Any] = {}
        if self.pad_to is not None:
            length = min(self.pad_to, self.bert.config.max_position_embeddings)
            padded = {"padding": "max_length", "truncation": True, "max_length": length}
        inputs = self.pieces([caption], return_tensors="pt", **padded)
        logits = self.bert(inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[0]
        scores, ids = torch.topk(logits, self.k, dim=-1)
        return ids, scores

    def spans(self, words: Sequence[str]) -> list[tuple[int, int]]:
        """First and one past the last piece of each word, [CLS] not counted."""
        spans, start = [], 0
        for word in words:
            stop = start + len(self.pieces.tokenize(word))
            spans.append((start, stop))
            start = stop
        return spans

    def substitutes(self, ids: Tensor, scores: Tensor) -> list[str]:
        """Words for predictions (pieces, k)."""
        if len(ids) == 1:
            kept = [i for i, s in zip(ids[0], scores[0], strict=True) if self.passes(float(s))]
            return self.pieces.convert_ids_to_tokens([int(i) for i in kept])
        combined: list[list[int]] = [[]]
        for row in ids[:12, :4].tolist():
            combined = [[*so_far, piece] for so_far in combined for piece in row]
        sequences = torch.tensor(combined[:24])
        logits = self.bert(sequences).logits
        losses = F.cross_entropy(logits.transpose(1, 2), sequences, reduction="none")
        ranked = losses.mean(dim=1).exp().argsort(stable=True).tolist()
        spelled = [self.pieces.convert_ids_to_tokens(combined[row]) for row in ranked]
        return [" ".join(tokens).replace(" ##", "") for tokens in spelled]

    def passes(self, score: float) -> bool:
        return self.threshold == 0 or score >= self.threshold


@dataclass(frozen=True, kw_only=True)
class ImageAttack:
    """Signed gradient steps on one image (1, 3, H, W) within an l-inf ball.

    Fields:
        model: the dual encoder.
        eps: radius in pixel units.
        step_size: length of a step.
        steps: how many.
        scales: rescaled copies beside the image itself.
        noise_std: noise on each copy.
    """

    model: Any
    eps: float = 2 / 255
    step_size: float = 0.5 / 255
    steps: int = 10
    scales: tuple[float, ...] = ()
    noise_std: float = 0.05

    def __call__(self, image: Tensor, start: Tensor, value: Value, draws: Draws) -> Tensor:
        """Where the steps from `start` end; `value` is of an image's embedding (1, D)."""
        current = self.confined(start, image)
        for _ in range(self.steps):
            uphill = self.multi_scale(current, value, draws)
            current = self.confined(current + self.step_size * uphill.sign(), image)
        return current

    def mixing(
        self, image: Tensor, start: Tensor, value: Value, draws: Draws, samples: int
    ) -> tuple[Tensor, Tensor]:
        """DRA's steps: the last iterate and the one before."""
        current = previous = at = self.confined(start, image)
        for step in range(self.steps):
            if step > 0:
                corners = torch.cat([current, image, previous])
                tried = []
                for _ in range(samples):
                    shares = torch.tensor(percentages(draws), dtype=image.dtype) / 100
                    tried.append((corners * shares.view(3, 1, 1, 1)).sum(dim=0, keepdim=True))
                values = [self.after_a_step(current, mixture, value) for mixture in tried]
                at = tried[values.index(max(values))]
            uphill = self.multi_scale(at, value, draws)
            moved = self.confined(current + self.step_size * uphill.sign(), image)
            previous, current = current, moved
        return current, previous

    def after_a_step(self, current: Tensor, mixture: Tensor, value: Value) -> float:
        """What a step from `current` along the gradient at a mixture would reach."""
        pixels = mixture.detach().clone().requires_grad_(True)
        uphill = self.gradient(pixels, pixels, value).sign()
        return float(value(embed_image(self.model, current + self.step_size * uphill)))

    def multi_scale(self, at: Tensor, value: Value, draws: Draws) -> Tensor:
        """Gradient at an image, summed over it and its noisy rescaled copies."""
        pixels = at.detach().clone().requires_grad_(True)
        gradient = self.gradient(pixels, pixels, value)
        for scale in self.scales:
            noisy = pixels + self.noise_std * draws.normal(pixels)
            gradient = gradient + self.gradient(self.rescaled(noisy, scale), pixels, value)
        return gradient

    def gradient(self, shown: Tensor, pixels: Tensor, value: Value) -> Tensor:
        (gradient,) = torch.autograd.grad(value(self.model.encode_image(shown)).sum(), pixels)
        return gradient

    def confined(self, image: Tensor, original: Tensor) -> Tensor:
        return (original + (image - original).clamp(-self.eps, self.eps)).clamp(0, 1)

    def rescaled(self, image: Tensor, scale: float) -> Tensor:
        size = image.shape[-2:]
        other = [int(side * scale) for side in size]
        resized = F.interpolate(image, size=other, mode="bicubic").clamp(0, 1)
        return F.interpolate(resized, size=size, mode="bicubic")


@dataclass(frozen=True)
class Item:
    """One image (1, 3, H, W), its captions, and where its random numbers come from."""

    image: Tensor
    captions: list[str]
    draws: Draws


def sga(item: Item, text: TextAttack, image: ImageAttack) -> tuple[Tensor, list[str]]:
    """Captions by the clean image, the image by them, captions anew by that image."""
    clean = embed_image(text.model, item.image)
    adversarial = sga_image(item, sga_captions(item, text, clean), text, image)
    return adversarial, sga_captions(item, text, embed_image(text.model, adversarial))


def sga_captions(item: Item, text: TextAttack, guide: Tensor) -> list[str]:
    """The text step: away from an image's embedding (1, D)."""
    return [text(caption, lambda rows: -(rows * guide).sum(dim=1)) for caption in item.captions]


def sga_image(item: Item, captions: list[str], text: TextAttack, image: ImageAttack) -> Tensor:
    """The image step: away from all the captions, over the scales."""
    start = item.image + image.eps * (2 * item.draws.uniform(item.image) - 1)
    return image(item.image, start, away_from(captions, text), item.draws)


def away_from(captions: list[str], text: TextAttack) -> Value:
    """Minus the similarities of an image with captions, summed."""
    targets = torch.cat([text.embed([caption]) for caption in captions])
    return lambda found: -(found @ targets.T).sum(dim=1)


def dra(
    item: Item, text: TextAttack, image: ImageAttack, *, samples: int = 5
) -> tuple[Tensor, list[str]]:
    """SGA with mixtures along the trajectory, the last text step by all its three corners."""
    clean = embed_image(text.model, item.image)
    value = away_from(sga_captions(item, text, clean), text)
    start = item.image + image.eps * (2 * item.draws.uniform(item.image) - 1)
    last, before = image.mixing(item.image, start, value, item.draws, samples)
    parts = [clean, embed_image(text.model, last), embed_image(text.model, before)]
    guide = 0.6 * parts[0] + 0.2 * parts[1] + 0.2 * parts[2]
    return last, sga_captions(item, text, guide)


def percentages(draws: Draws) -> list[int]:
    """Three whole numbers from 1 that sum to 100."""
    while True:
        first = int(draws.integers(100)) + 1
        if 100 - first <= 1:
            return [98, 1, 1]
        second = int(draws.integers(100 - first)) + 1
        if 100 - first - second >= 1:
            return [first, second, 100 - first - second]


def co_attack(
    item: Item, text: TextAttack, image: ImageAttack, *, alpha: float = 3.0
) -> tuple[Tensor, list[str]]:
    """Captions away from themselves, then the image from itself and from those captions."""
    captions = []
    for caption in item.captions:
        own = text.embed([caption])
        captions.append(text(caption, lambda rows, own=own: kl(own.expand_as(rows), rows)))
    targets = torch.cat([text.embed([caption]) for caption in captions])
    clean = embed_image(text.model, item.image)

    def value(found: Tensor) -> Tensor:
        return kl(clean, found) + alpha * kl(targets, found.expand_as(targets)).mean()

    start = item.image + image.eps * item.draws.uniform(item.image)
    return image(item.image, start, value, item.draws), captions


@torch.no_grad()
def embed_image(model: Any, image: Tensor) -> Tensor:
    """Embedding (1, D)."""
    embedded: Tensor = model.encode_image(image)
    return embedded


def kl(reference: Tensor, moved: Tensor) -> Tensor:
    """KL(softmax(reference) || softmax(moved)) row by row."""
    before, after = reference.softmax(dim=1), moved.softmax(dim=1)
    return (before * (before.log() - after.log())).sum(dim=1)
