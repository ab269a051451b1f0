"""Some training items with what was made of them, embedded by a judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mmrobust.augment.base import Modality, Pictures
from mmrobust.augment.distribution_gap import Pool
from mmrobust.data.augmented import Augmented
from mmrobust.data.prepared import Split
from mmrobust.models.base import DualEncoder
from mmrobust.models.encoding import embed_captions, embed_images, to_pixels

Array = NDArray[np.float64]

CHUNK_PICTURES = 256
"""Pictures that are read and held at once."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """R items with N augmentations of each; vectors have D dimensions and norm 1.

    An item's original is its own picture or its first caption, whichever is of the modality of
    what was made; its counterpart is the other of the two.

    Fields:
        modality: of what was made.
        made: (N, R, D) vectors of what was made.
        true: (N, R), 1, 0 or `UNKNOWN`.
        original: (R, D) vectors of the originals.
        counterpart: (R, D) vectors of the counterparts.
        pool: vectors of all the items' captions, or of their pictures.
        captions: (1 + N, R) texts, the originals first; (1 + N, 0) for pictures.
        pool_captions: all captions of the items; none for pictures.
        pictures: of some of the R, uint8 (1 + N, r, H, W, 3), the originals first.
    """

    modality: Modality
    made: Array
    true: NDArray[np.int64]
    original: Array
    counterpart: Array
    pool: Pool
    captions: NDArray[np.object_]
    pool_captions: Sequence[str]
    pictures: Callable[[slice], Pictures]


def embed_sample(
    model: DualEncoder, split: Split, made: Augmented, items: NDArray[np.int64]
) -> Sample:
    """Embed some items of the training split and what was made of them.

    Args:
        model: the judge.
        split: the training split.
        made: its augmented set.
        items: (R,) rows of the split's images, ascending.
    """
    n_items = len(split.images)
    numbers = np.arange(len(made.items) // n_items)
    rows = numbers[:, None] * n_items + items  # (N, R): the set is sorted by number, then item
    start, stop = np.searchsorted(split.caption_image, [items, items + 1])
    own_rows = np.concatenate([np.arange(a, b) for a, b in zip(start, stop, strict=True)])
    captions = np.array(split.captions, dtype=np.object_)
    of_images = _embed_pictures(model, split.images, items)
    modality: Modality = made.manifest["writes"]
    if modality == "caption":
        texts = np.vstack([captions[start], made.items["caption"].to_numpy()[rows]])
        own = captions[own_rows].tolist()
        # In one call, so that equal captions have equal vectors.
        both = _unit(embed_captions(model, [*own, *texts.ravel()]))
        of_first, vectors = both[len(own) :][: len(items)], both[len(own) + len(items) :]
        pool = Pool(both[: len(own)], np.repeat(np.arange(len(items)), stop - start))
    else:
        texts, own = np.empty((1 + len(numbers), 0), dtype=np.object_), []
        of_first = _unit(embed_captions(model, captions[start].tolist()))
        vectors = _embed_pictures(model, made.images, rows.ravel())
        pool = Pool(of_images, np.arange(len(items)))
    by_modality = {"caption": of_first, "image": of_images}
    return Sample(
        modality=modality,
        made=vectors.reshape(*rows.shape, -1),
        true=made.items["true"].to_numpy()[rows].astype(np.int64),
        original=by_modality.pop(modality),
        counterpart=by_modality.popitem()[1],
        pool=pool,
        captions=texts,
        pool_captions=own,
        pictures=lambda chosen: np.concatenate(
            [split.images[items[chosen]][None], made.images[rows[:, chosen]]]
        ),
    )


def _embed_pictures(model: DualEncoder, pictures: Pictures, rows: NDArray[np.int64]) -> Array:
    """Embed rows of stored pictures, some at a time; the others stay on disk."""
    chunks = (rows[at : at + CHUNK_PICTURES] for at in range(0, len(rows), CHUNK_PICTURES))
    found = [embed_images(model, to_pixels(pictures[chunk]).to(model.device)) for chunk in chunks]
    return _unit(torch.cat(found))


def _unit(vectors: torch.Tensor) -> Array:
    """Normalised again, in double precision: cosines of equal vectors are 1 and not nearly 1."""
    values: Array = vectors.cpu().numpy().astype(np.float64)
    unit: Array = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit
