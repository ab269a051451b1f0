"""What a model learns from, and in which batches: images and captions by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from mmrobust.data.augmented import Augmented
from mmrobust.data.prepared import Split
from mmrobust.errors import UserError
from mmrobust.models.encoding import to_pixels
from mmrobust.randomness import numpy_generator
from mmrobust.training.base import TrainingBatch

Pairs = Literal["one", "all"]
Positives = Literal["item", "exact"]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Images and captions that describe the same item, in any number each.

    Fields:
        images: uint8 (n, H, W, 3) arrays, whose rows are counted on from one to the next.
        image_item: (N,) int64, the item of each image.
        image_source: (N,) int64, the row of the dataset's caption that a picture was made from;
            -1 for one that is of the item itself.
        captions: C texts.
        caption_item: (C,) int64, the item of each caption.
        caption_source: (C,) int64, the row of the dataset's caption that it is or was made from;
            -1 for one that was made from the picture.
        positives: bool (C, N): the caption is true of the image.
    """

    images: Sequence[NDArray[np.uint8]]
    image_item: NDArray[np.int64]
    image_source: NDArray[np.int64]
    captions: Sequence[str]
    caption_item: NDArray[np.int64]
    caption_source: NDArray[np.int64]
    positives: sp.csr_array

    @classmethod
    def of(
        cls,
        split: Split,
        *,
        captions_per_image: int | None = None,
        augmented: Sequence[Augmented] = (),
    ) -> TrainingData:
        """The items of a split: its images with their first captions, and what was made of them.

        Args:
            split: the training split.
            captions_per_image: how many of its captions an image has; None for all.
            augmented: sets of further captions or pictures. Of another picture of the item is
                taken to be true what is true of its image, if its first caption is. Of one that
                was made from a caption nothing is known but that.
        """
        rank = np.arange(len(split.captions)) - np.searchsorted(
            split.caption_image, split.caption_image
        )
        kept = np.flatnonzero(rank < (captions_per_image or len(split.captions)))
        captions = [split.captions[row] for row in kept]
        caption_item, image_item = [split.caption_image[kept]], [np.arange(len(split.images))]
        caption_source, image_source = [kept], [np.full(len(split.images), -1)]
        images, positives = [split.images], [sp.csr_array(split.positives[kept])]
        known = [np.ones(len(split.images), dtype=bool)]
        for made in augmented:
            item, source = (
                made.items[column].to_numpy().astype(np.int64)
                for column in ("item", "source_caption")
            )
            if len(made.images):
                images.append(made.images)
                image_item.append(item)
                image_source.append(source)
                known.append((source < 0) & (made.items["true"].to_numpy() != 0))
            else:
                captions += made.items["caption"].tolist()
                caption_item.append(item)
                caption_source.append(source)
                positives.append(made.positives)
        of_items = sp.csr_array(sp.vstack(positives))[:, np.concatenate(image_item)]
        return cls(
            images=images,
            image_item=np.concatenate(image_item),
            image_source=np.concatenate(image_source),
            captions=captions,
            caption_item=np.concatenate(caption_item),
            caption_source=np.concatenate(caption_source),
            positives=sp.csr_array(of_items.multiply(np.concatenate(known)[None, :])),
        )

    def first_items(self, n: int | None) -> TrainingData:
        """The first `n` items with all that is theirs; None for all.

        Raises:
            UserError: there are fewer.
        """
        if n is None:
            return self
        if n > self.n_items:
            raise UserError(f"training.items: {n} exceeds the {self.n_items} training images")
        image, caption = self.image_item < n, self.caption_item < n
        starts = np.cumsum([len(of) for of in self.images])[:-1]
        return TrainingData(
            images=[
                of[kept] for of, kept in zip(self.images, np.split(image, starts), strict=True)
            ],
            image_item=self.image_item[image],
            image_source=self.image_source[image],
            captions=[self.captions[row] for row in np.flatnonzero(caption).tolist()],
            caption_item=self.caption_item[caption],
            caption_source=self.caption_source[caption],
            positives=sp.csr_array(self.positives[caption][:, image]),
        )

    @property
    def n_items(self) -> int:
        """Number of items; each has an image and a caption."""
        return int(self.image_item.max()) + 1

    def pixels(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Images (n, 3, H, W) in [0, 1]."""
        starts = np.cumsum([0, *map(len, self.images)])
        array = np.searchsorted(starts, rows, side="right") - 1
        found: list[Any] = [
            self.images[which][row - starts[which]]
            for which, row in zip(array.tolist(), rows.tolist(), strict=True)
        ]
        return to_pixels(np.stack(found))


class PairSampler:
    """Batches of items: each epoch visits every item once.

    Args:
        data: what is sampled.
        batch_size: items of a batch.
        seed: of the order and of the draws.
        pairs: one (an item enters with one of its images and one of its captions, drawn anew
            each time) or all (with all of them). A picture that was made from a caption goes with
            that caption and what else was made from it, not with the item's others.
        positives: item (images and captions of the same item belong together) or exact (also
            those of other items of which a caption is true).
    """

    def __init__(
        self,
        data: TrainingData,
        *,
        batch_size: int,
        seed: int,
        pairs: Pairs = "one",
        positives: Positives = "item",
    ) -> None:
        if batch_size > data.n_items:
            raise UserError(
                f"training.batch_size: {batch_size} exceeds the {data.n_items} training images"
            )
        self._data = data
        self._batch_size = batch_size
        self._seed = seed
        self._pairs = pairs
        self._positives = positives
        self._images_of = _rows_by_item(data.image_item, data.n_items)
        self._captions_of = _rows_by_item(data.caption_item, data.n_items)
        self.steps_per_epoch = data.n_items // batch_size

    def batch(self, step: int) -> TrainingBatch:
        """The batch of a step, counted from the start of training."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = numpy_generator(self._seed, "order", epoch).permutation(self._data.n_items)
        items = order[position * self._batch_size : (position + 1) * self._batch_size]
        images = self._images_for(items, step)
        captions = self._captions_for(images, items, step)
        return TrainingBatch(
            images=self._data.pixels(images),
            captions=tuple(self._data.captions[row] for row in captions),
            positives=torch.from_numpy(self._positives_of(images, captions)),
        )

    def _images_for(self, items: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """All images of the items, or one of each."""
        rows = [self._images_of[item] for item in items]
        if self._pairs == "all":
            return np.concatenate(rows)
        choice = numpy_generator(self._seed, "images", step)
        return np.array([choice.choice(own) for own in rows])

    def _captions_for(
        self, images: NDArray[np.int64], items: NDArray[np.int64], step: int
    ) -> NDArray[np.int64]:
        """All captions of the items, or one for each image, of which it can be one."""
        rows = [self._captions_of[item] for item in items]
        if self._pairs == "all":
            return np.concatenate(rows)
        choice = numpy_generator(self._seed, "captions", step)
        return np.array(
            [
                choice.choice(own[self._fits(image, own)])
                for image, own in zip(images.tolist(), rows, strict=True)
            ]
        )

    def _fits(self, images: Any, captions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether captions of an item can be said of its images.

        What was made from one caption shows what that says, and need not what others say.
        """
        source, data = self._data.image_source[images], self._data
        fits: NDArray[np.bool_] = (source == -1) | (source == data.caption_source[captions])
        return fits

    def _positives_of(
        self, images: NDArray[np.int64], captions: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Positives (I, C) of a batch; a pair of one item is always one, true or not."""
        data = self._data
        own: NDArray[np.bool_] = (
            data.image_item[images][:, None] == data.caption_item[captions][None, :]
        )
        own &= self._fits(images[:, None], captions[None, :])
        if self._positives == "item":
            return own
        true: NDArray[np.bool_] = data.positives[captions][:, images].toarray().T
        return np.logical_or(own, true)


def _rows_by_item(item: NDArray[np.int64], n_items: int) -> list[NDArray[np.int64]]:
    """Rows of each item, ascending."""
    order = np.argsort(item, kind="stable")
    return np.split(order, np.searchsorted(item[order], np.arange(1, n_items)))
