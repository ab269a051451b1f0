"""Ranks of an attacked retrieval gallery, by protocol, direction and kind of label.

Protocols:
    full_gallery: everything is attacked at once, as published: adversarial queries against
        adversarial galleries.
    own_pair: only the query's own image and own captions are attacked and every distractor is
        clean, so that queries don't interact and a worst case over attacks is exact per query.
Directions: i2t (image query, captions ranked; the papers' TR) and t2i (IR).
Labels: one_image (only the query's own captions or image) and positives (the positives matrix).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from mmrobust.errors import UserError
from mmrobust.evaluation.ranks import best_positive_ranks

PROTOCOLS = ("full_gallery", "own_pair")
DIRECTIONS = ("i2t", "t2i")
LABELS = ("one_image", "positives")

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """Unit-norm embeddings of a gallery or of a whole split, before and after an attack.

    Attributes:
        clean_image: (N, D).
        clean_text: (C, D).
        adversarial_image: (N, D); `clean_image` itself where images are not attacked.
        adversarial_text: (C, D); `clean_text` itself where texts are not attacked.
        caption_image: (C,) row of the caption's own image, sorted.
        positives: (C, N) bool, sparse: the caption is true of the image.
    """

    clean_image: Floats
    clean_text: Floats
    adversarial_image: Floats
    adversarial_text: Floats
    caption_image: NDArray[np.int64]
    positives: sp.csr_array

    def __post_init__(self) -> None:
        shape = (len(self.clean_text), len(self.clean_image))
        if (
            self.adversarial_image.shape != self.clean_image.shape
            or self.adversarial_text.shape != self.clean_text.shape
            or self.caption_image.shape != shape[:1]
            or self.positives.shape != shape
        ):
            raise ValueError(f"embeddings, captions and positives disagree about {shape=}")
        if np.any(np.diff(self.caption_image) < 0):
            raise ValueError("captions must be sorted by image")

    def captions_of(self, images: range) -> slice:
        """Rows of the captions that belong to consecutive images."""
        start, stop = np.searchsorted(self.caption_image, [images.start, images.stop])
        return slice(int(start), int(stop))

    def block(self, images: range) -> Embeddings:
        """The gallery of consecutive `images` and their captions, with rows from 0."""
        rows, captions = slice(images.start, images.stop), self.captions_of(images)
        return Embeddings(
            clean_image=self.clean_image[rows],
            clean_text=self.clean_text[captions],
            adversarial_image=self.adversarial_image[rows],
            adversarial_text=self.adversarial_text[captions],
            caption_image=self.caption_image[captions] - images.start,
            positives=sp.csr_array(self.positives[captions][:, rows]),
        )


def gallery_blocks(n_images: int, gallery_images: int) -> list[range]:
    """Disjoint blocks of consecutive images, each one gallery.

    Raises:
        UserError: if `gallery_images` does not divide `n_images`.
    """
    if gallery_images < 1 or n_images % gallery_images:
        allowed = [size for size in range(1, n_images + 1) if n_images % size == 0]
        raise UserError(
            f"evaluation.gallery_images: {gallery_images} does not divide the {n_images} images "
            f"of the split (allowed: {', '.join(map(str, allowed))})"
        )
    return [range(at, at + gallery_images) for at in range(0, n_images, gallery_images)]


def of_items(outcomes: pd.DataFrame, items: Sequence[int]) -> pd.DataFrame:
    """The outcomes of some images and their captions under own_pair, where items don't interact.

    Args:
        outcomes: of a whole split, see `split_ranks`, or of a part of it.
        items: rows of images; those that the outcomes aren't about are passed over.
    """
    chosen = (outcomes["protocol"] == "own_pair") & outcomes["image"].isin(items)
    return outcomes[chosen].reset_index(drop=True)


def select_outcomes(outcomes: pd.DataFrame, **values: str | int) -> pd.DataFrame:
    """The outcomes, see `split_ranks`, whose columns have these values."""
    chosen = [outcomes[column] == value for column, value in values.items()]
    return outcomes[np.logical_and.reduce(chosen)]


def split_ranks(embeddings: Embeddings, *, gallery_images: Sequence[int]) -> pd.DataFrame:
    """Per-sample outcomes of a whole split, cut into disjoint galleries of each size.

    Args:
        embeddings: of the whole split.
        gallery_images: distinct numbers of images of a gallery, the main one first; each must
            divide the number of images.

    Returns:
        Columns protocol, direction, labels (str), gallery_images, gallery, query, image, rank
        (int32): the sizes one after the other as given, each ordered by protocol, direction,
        labels, gallery and query. `query` is a row of the split's images (i2t) or captions
        (t2i), `image` the row of the image that the query belongs to.
    """
    frames = [_ranks_of_size(embeddings, size) for size in gallery_images]
    return pd.concat(frames, ignore_index=True)


def _ranks_of_size(embeddings: Embeddings, gallery_images: int) -> pd.DataFrame:
    blocks = gallery_blocks(len(embeddings.clean_image), gallery_images)
    parts: dict[tuple[str, str, str], list[pd.DataFrame]] = {}
    for gallery, images in enumerate(blocks):
        captions = embeddings.captions_of(images)
        image_rows = np.arange(images.start, images.stop)
        caption_rows = np.arange(captions.start, captions.stop)
        queries = {
            "i2t": (image_rows, image_rows),
            "t2i": (caption_rows, embeddings.caption_image[captions]),
        }
        for key, ranks in gallery_ranks(embeddings.block(images)).items():
            query, image = queries[key[1]]
            columns = {
                "gallery_images": gallery_images,
                "gallery": gallery,
                "query": query,
                "image": image,
                "rank": ranks,
            }
            parts.setdefault(key, []).append(pd.DataFrame(columns).astype(np.int32))
    names = ["protocol", "direction", "labels"]
    tidy = {key: pd.concat(frames, ignore_index=True) for key, frames in parts.items()}
    return pd.concat(tidy, names=names).reset_index(level=names).reset_index(drop=True)


def gallery_ranks(gallery: Embeddings) -> dict[tuple[str, str, str], NDArray[np.int32]]:
    """Ranks in one gallery, keyed by (protocol, direction, labels): (N,) i2t, (C,) t2i.

    Scores are always taken from the same full products, also a query's own pairs, so that an
    attack that changes nothing gives exactly the clean ranks.
    """
    n_images, captions = len(gallery.clean_image), np.arange(len(gallery.caption_image))
    own = (gallery.caption_image, captions)
    truths = {
        "one_image": sp.csr_array(
            (np.ones(len(captions), dtype=np.bool_), own), shape=(n_images, len(captions))
        ),
        "positives": sp.csr_array(gallery.positives.T),
    }
    attacked = _scores(gallery.adversarial_image, gallery.adversarial_text)
    pairs = attacked[own]
    ranks = _both_labels("full_gallery", "i2t", attacked, truths)
    ranks |= _both_labels("full_gallery", "t2i", attacked, truths)
    del attacked
    against_clean_texts = _scores(gallery.adversarial_image, gallery.clean_text)
    against_clean_texts[own] = pairs
    ranks |= _both_labels("own_pair", "i2t", against_clean_texts, truths)
    del against_clean_texts
    against_clean_images = _scores(gallery.clean_image, gallery.adversarial_text)
    against_clean_images[own] = pairs
    return ranks | _both_labels("own_pair", "t2i", against_clean_images, truths)


def _scores(image: Floats, text: Floats) -> Floats:
    """(N, C) inner products.

    Summed in double precision: equal embeddings at different places of a gallery then tie
    after rounding to float32, whatever order the matrix product sums in.
    """
    with np.errstate(invalid="ignore"):
        product = image.astype(np.float64) @ text.astype(np.float64).T
    return product.astype(np.float32)


def _both_labels(
    protocol: str, direction: str, scores: Floats, truths: dict[str, sp.csr_array]
) -> dict[tuple[str, str, str], NDArray[np.int32]]:
    """Ranks of one protocol and direction from (N, C) scores and (N, C) truths."""
    if direction == "t2i":
        return {
            (protocol, direction, labels): best_positive_ranks(scores.T, sp.csr_array(truth.T))
            for labels, truth in truths.items()
        }
    return {
        (protocol, direction, labels): best_positive_ranks(scores, truth)
        for labels, truth in truths.items()
    }
