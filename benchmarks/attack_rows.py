"""Which rows of text an attack encodes, and what sharing their prefixes could save."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmrobust.models.dual_encoder import OpenClipDualEncoder
from mmrobust.models.encoding import TOKENS_PER_CHUNK, token_lengths


class NotedRows:
    """Stands in for a model and notes which rows of text are encoded."""

    def __init__(self, model: OpenClipDualEncoder) -> None:
        self.model, self.device = model, model.device
        self.rows: list[str] = []

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        """Note the captions, then tokenise them."""
        self.rows += captions
        return self.model.tokenize(captions)

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Encode as the model does."""
        return self.model.encode_tokens(tokens)


def shared_prefixes_at_most(
    model: OpenClipDualEncoder, rows: Sequence[str], captions: Sequence[str], rounds: int = 5
) -> dict[str, float]:
    """How much faster sharing the causal prefix of rows and their captions could be at most.

    What each row has behind its prefix is encoded as if it were all: attending to the prefix and
    fetching its keys and values would come on top.
    """
    whole, rest = cut_prefixes(model, rows, captions)
    times: dict[str, list[float]] = {"whole": [], "rest": []}
    for _ in range(rounds):
        for name, tokens in (("whole", whole), ("rest", rest)):
            start = time.perf_counter()
            encode_all(model, tokens)
            times[name].append(time.perf_counter() - start)
    return {
        "text_tower": statistics.median(times["whole"]) / statistics.median(times["rest"]),
        "tokens": sum(map(len, whole)) / sum(map(len, rest)),
    }


def cut_prefixes(
    model: OpenClipDualEncoder, rows: Sequence[str], captions: Sequence[str]
) -> tuple[list[Tensor], list[Tensor]]:
    """Token ids of rows, whole and without what they have in common with their caption."""
    ids = [tokens[: int(n)] for tokens, n in with_lengths(model, rows)]
    originals = [tokens[: int(n)] for tokens, n in with_lengths(model, captions)]
    own = {tuple(tokens.tolist()) for tokens in originals}
    rest = []
    for tokens in ids:
        if tuple(tokens.tolist()) in own:
            rest.append(tokens)
            continue
        rest.append(tokens[max(in_common(tokens, original) for original in originals) :])
    return ids, rest


def with_lengths(
    model: OpenClipDualEncoder, captions: Sequence[str]
) -> list[tuple[Tensor, Tensor]]:
    """Padded ids of each caption and how many of them count."""
    tokens = model.tokenize(captions)
    return list(zip(tokens, token_lengths(tokens), strict=True))


def in_common(one: Tensor, other: Tensor) -> int:
    """Length of the common prefix."""
    size = min(len(one), len(other))
    differs = (one[:size] != other[:size]).nonzero()
    return int(differs[0]) if len(differs) else size - 1


@torch.no_grad()
def encode_all(model: OpenClipDualEncoder, rows: Sequence[Tensor]) -> None:
    """Encode rows of token ids, sorted by length, in batches as large as an attack's."""
    ordered = sorted(rows, key=len)
    size = TOKENS_PER_CHUNK["cpu"] // len(ordered[-1])
    for start in range(0, len(ordered), size):
        model.encode_tokens(pad_sequence(ordered[start : start + size], batch_first=True))
