"""Stored images and captions to embeddings, without gradients and within a memory bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmrobust.models.base import DualEncoder

TOKENS_PER_CHUNK = {"cpu": 2_048, "cuda": 65_536}
"""Tokens in one pass of the text tower, by device: enough to keep it busy, few enough that rows of
a chunk are about equally long and that memory stays small."""


def to_pixels(images: np.ndarray[Any, np.dtype[np.uint8]]) -> torch.Tensor:
    """Bytes (B, H, W, 3) to pixels (B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255


def token_lengths(tokens: Tensor) -> Tensor:
    """Length (B,) of each row of zero-padded token ids (B, T).

    Counted from the end, since id 0 also stands for a real piece in CLIP's own vocabulary.
    """
    return tokens.shape[1] - (tokens != 0).flip(1).int().argmax(dim=1)


def length_chunks(lengths: Tensor, tokens_per_chunk: int) -> Iterator[Tensor]:
    """Rows in chunks of bounded size once padded, short rows first, so that padding costs little.

    Args:
        lengths: (N,) tokens of each row, none of them 0.
        tokens_per_chunk: bound on rows times the longest; a longer row is a chunk of its own.
    """
    order = torch.argsort(lengths, stable=True)
    start = 0
    while start < len(order):
        # The longest row of a chunk isn't known before its end: take what fits at this length,
        # then cut to what fits at the length that it reached.
        stop = min(len(order), start + max(1, tokens_per_chunk // int(lengths[order[start]])))
        stop = start + max(1, min(stop - start, tokens_per_chunk // int(lengths[order[stop - 1]])))
        yield order[start:stop]
        start = stop


def embed_captions(
    model: DualEncoder,
    captions: Sequence[str],
    *,
    encode: Callable[[Tensor], Tensor] | None = None,
    tokens_per_chunk: int | None = None,
) -> Tensor:
    """Embed captions as unit vectors (C, D), as `read_captions` does."""
    return read_captions(model, captions, encode=encode, tokens_per_chunk=tokens_per_chunk)[0]


@torch.no_grad()
def read_captions(
    model: DualEncoder,
    captions: Sequence[str],
    *,
    encode: Callable[[Tensor], Tensor] | None = None,
    tokens_per_chunk: int | None = None,
) -> tuple[Tensor, list[bytes]]:
    """Embed captions as unit vectors (C, D), and tell what the model reads of each.

    Captions that it reads alike, as it cuts them or knows none of their characters, have one
    reading. Each is encoded once: the last bits of an embedding depend on its place in a batch,
    and captions that are the same to the model must not differ by them.

    `encode` stands in for the model's `encode_tokens` where other vectors are wanted.

    Captions are sorted by length and encoded in chunks at the length of their longest, so that
    padding costs next to nothing and memory doesn't grow with the number of captions.
    """
    encode = encode or model.encode_tokens
    tokens_per_chunk = tokens_per_chunk or TOKENS_PER_CHUNK[model.device.type]
    distinct = list(dict.fromkeys(captions))
    tokens = model.tokenize(distinct)
    lengths = token_lengths(tokens)
    reading = {
        caption: row[:length].tobytes()
        for caption, row, length in zip(distinct, tokens.numpy(), lengths.tolist(), strict=True)
    }
    place: dict[bytes, int] = {}
    first = [at for at, read in enumerate(reading.values()) if place.setdefault(read, at) == at]
    tokens, lengths = tokens[first], lengths[first]
    chunks = list(length_chunks(lengths, tokens_per_chunk))
    embeddings = torch.cat([encode(tokens[chunk, : int(lengths[chunk[-1]])]) for chunk in chunks])
    unsorted = torch.empty_like(embeddings)
    unsorted[torch.cat(chunks)] = embeddings
    row_of = {read: row for row, read in enumerate(place)}
    read = [reading[caption] for caption in captions]
    return unsorted[torch.tensor([row_of[one] for one in read])], read


@torch.no_grad()
def embed_images(model: DualEncoder, images: Tensor, *, batch_size: int = 256) -> Tensor:
    """Embed images (B, 3, H, W) in [0, 1] as unit vectors (B, D), `batch_size` at a time."""
    return torch.cat([model.encode_image(chunk) for chunk in torch.split(images, batch_size)])
