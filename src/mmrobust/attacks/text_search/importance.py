"""Importance: in which order a search tries the words of a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field
from torch import Tensor

from mmrobust.attacks.text_search.base import Choices, Value
from mmrobust.models.base import DualEncoder
from mmrobust.models.encoding import embed_captions, length_chunks, token_lengths

UNKNOWN = "[UNK]"

TOKENS_PER_CHUNK = {"cpu": 512, "cuda": 8_192}
"""Tokens in one pass with gradients, by device: fewer than without, since activations are kept."""


@dataclass(frozen=True, kw_only=True)
class UnknownToken:
    """How far the embedding moves when a word is hidden.

    BERT-Attack (Li et al. 2020, arXiv 2004.09984, section 3.1) as ported to embeddings by
    Co-Attack (Zhang et al. 2022, arXiv 2206.09391) and SGA (Lu et al. 2023, arXiv 2307.14061):
    KL(softmax(caption) || softmax(caption with the word replaced by the characters "[UNK]")),
    the softmax over the D components of a unit vector.

    Deviations:
        Released code hides every word of a caption in turn; here only those that have
        substitutes are, since the others are never tried.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    uses_value: ClassVar[bool] = False

    kind: Literal["unknown_token"] = "unknown_token"

    def order(
        self,
        model: DualEncoder,
        captions: Sequence[str],
        choices: Sequence[Choices],
        embeddings: Tensor,
        value: Value,
    ) -> list[tuple[int, ...]]:
        """Positions that have choices, the most important first, ties by position.

        Args:
            model: the dual encoder that is attacked.
            captions: C captions.
            choices: substitutes for each word of each caption.
            embeddings: (C, D) unit vectors of the captions.
            value: what the search maximises; not asked.
        """
        positions = _with_choices(choices)
        owned = [(number, place) for number, places in enumerate(positions) for place in places]
        if not owned:
            return positions
        hidden = embed_captions(model, [_hidden(captions[n], place) for n, place in owned])
        # In single precision rounding would decide between words: the divergence is tiny.
        after = hidden.double().log_softmax(dim=1)  # (R, D)
        before = embeddings.double().log_softmax(dim=1)[[number for number, _ in owned]]
        scores = iter((before.exp() * (before - after)).sum(dim=1).tolist())
        return [_ranked(places, [next(scores) for _ in places]) for places in positions]


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """How steeply what is maximised depends on a word: norms of gradients, over its pieces.

    The sum over a word's pieces of the l2 norm of the gradient with respect to the token's
    embedding; 0 for what the model's context cuts. Words ranked by a gradient, as in the
    white-box TextBugger (Li et al. 2019, arXiv 1812.05271).

    Deviations:
        TextBugger differentiates a classifier's confidence; here it is the search's own value,
        so that a search with another goal ranks words otherwise.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    uses_value: ClassVar[bool] = True

    kind: Literal["gradient"] = "gradient"

    def order(
        self,
        model: DualEncoder,
        captions: Sequence[str],
        choices: Sequence[Choices],
        embeddings: Tensor,
        value: Value,
    ) -> list[tuple[int, ...]]:
        """Positions that have choices, the most important first, ties by position.

        Args:
            model: the dual encoder that is attacked.
            captions: C captions.
            choices: substitutes for each word of each caption.
            embeddings: (C, D) unit vectors of the captions; encoded anew, with gradients.
            value: what the search maximises.
        """
        order = _with_choices(choices)
        asked = [number for number, places in enumerate(order) if places]
        if not asked:
            return order
        tokens = model.tokenize([captions[number] for number in asked])
        lengths = token_lengths(tokens)
        behind = _tokens_behind(model)
        for chunk in length_chunks(lengths, TOKENS_PER_CHUNK[model.device.type]):
            numbers = [asked[row] for row in chunk.tolist()]
            owner = torch.tensor(numbers, device=embeddings.device)
            norms = _gradient_norms(model, tokens[chunk, : int(lengths[chunk[-1]])], owner, value)
            for number, row, length in zip(numbers, norms, lengths[chunk].tolist(), strict=True):
                spans = model.word_spans(captions[number])
                own = row[: length - behind]
                scores = [sum(own[slice(*spans[place])]) for place in order[number]]
                order[number] = _ranked(order[number], scores)
        return order


Importance = Annotated[UnknownToken | Gradient, Field(discriminator="kind")]
"""What decides the order of words, as a section of a configuration."""


def _with_choices(choices: Sequence[Choices]) -> list[tuple[int, ...]]:
    """Positions of each caption at which there is a choice."""
    return [tuple(i for i, others in enumerate(words) if others) for words in choices]


def _ranked(positions: Sequence[int], scores: Sequence[float]) -> tuple[int, ...]:
    """Ascending positions by falling score; sorting is stable, so ties stay ascending."""
    ranks = sorted(range(len(positions)), key=lambda i: -scores[i])
    return tuple(positions[i] for i in ranks)


def _hidden(caption: str, position: int) -> str:
    words = caption.split(" ")
    return " ".join([*words[:position], UNKNOWN, *words[position + 1 :]])


def _tokens_behind(model: DualEncoder) -> int:
    """Tokens behind a caption's last piece; where a caption is cut they take pieces' places."""
    return int(token_lengths(model.tokenize(["a"]))) - model.word_spans("a")[-1][1]


def _gradient_norms(
    model: DualEncoder, tokens: Tensor, owner: Tensor, value: Value
) -> list[list[float]]:
    """Norms (B, T) of the gradient of each row's value with respect to its token embeddings."""
    embedded = model.embed_tokens(tokens).detach().requires_grad_()
    with torch.enable_grad():
        values = value(model.encode_tokens(tokens, embedded), owner)
        (gradient,) = torch.autograd.grad(values.sum(), embedded)
    norms: list[list[float]] = gradient.float().norm(dim=2).tolist()
    return norms
