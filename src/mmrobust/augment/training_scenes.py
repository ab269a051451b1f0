"""What augmenters of `scenes` share: the scenes behind the training pictures, and misalignment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mmrobust.augment.base import Augmenter, Made, Modality, Source
from mmrobust.data.prepare import build_dataset
from mmrobust.data.scenes.dataset import Scenes
from mmrobust.data.scenes.render import render
from mmrobust.data.scenes.scene import IntArray, SceneArrays
from mmrobust.data.scenes.truth import are_true
from mmrobust.errors import UserError
from mmrobust.quantities import Fraction, PositiveInt

_MAX_REDRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class ScenesAugmenter(Augmenter):
    """An augmenter that knows the scenes of the training pictures.

    Fields:
        distinct: how many of an item's augmentations differ, the others repeating them in turn;
            None for all. Repeats are exact copies, and nothing else changes.
    """

    of_dataset: ClassVar[str | None] = "scenes"

    distinct: PositiveInt | None = None

    def draw_number(self, number: int) -> int:
        """The draw that is repeated."""
        return number if self.distinct is None else number % self.distinct


@dataclass(frozen=True, kw_only=True)
class ScenesPictures(ScenesAugmenter):
    """An augmenter that renders scenes.

    Fields:
        style_shift: how far palette and texture are from the dataset's.
        misaligned: share of the pictures that show another item's scene, of which the item's
            first caption is false.
    """

    writes: ClassVar[Modality] = "image"

    style_shift: Fraction = 0.0
    misaligned: Fraction = 0.0

    def render(
        self,
        captions: Sequence[str],
        scenes: SceneArrays,
        dataset: Scenes,
        rng: np.random.Generator,
        choice: np.random.Generator,
    ) -> Made:
        """Pictures of R scenes, or of each other's where they are misaligned.

        Args:
            captions: R captions, each true of the scene of its own row.
            scenes: R scenes.
            dataset: whose size and noise the pictures have.
            rng: source of jitter, tint, texture and noise.
            choice: source of which pictures are misaligned, and how.
        """

        def fits(of: IntArray, rows: IntArray) -> NDArray[np.bool_]:
            return are_true([captions[row] for row in of.tolist()], scenes.take(rows))

        rows = misaligned_rows(len(captions), fits, choice, share=self.misaligned)
        shown = scenes.take(rows)
        pictures = render(
            shown,
            rng,
            image_size=dataset.image_size,
            pixel_noise=dataset.pixel_noise,
            style_shift=self.style_shift,
        )
        return Made(pictures, are_true(captions, shown), shows=rows)


def training_scenes(source: Source) -> tuple[Scenes, SceneArrays]:
    """The dataset, and the scene of each training picture as it was drawn for it."""
    dataset = scenes_dataset(source)
    return dataset, dataset.image_scenes("train", seed=source.data_seed)


def scenes_dataset(source: Source) -> Scenes:
    """The dataset; planning has refused any other than `scenes`."""
    dataset: Any = build_dataset(source.dataset)
    assert isinstance(dataset, Scenes)
    return dataset


def misaligned_rows(
    n: int,
    fits: Callable[[IntArray, IntArray], NDArray[np.bool_]],
    rng: np.random.Generator,
    *,
    share: float,
) -> IntArray:
    """For each of n rows the row (n,) that it gets something from: its own, or one that misfits.

    Args:
        n: rows.
        fits: of rows (R,) that get and rows (R,) that give, whether what is given is true of who
            gets it after all; then another is drawn.
        rng: source of the choice. The same state and a larger share misalign the same rows and
            more.
        share: in 0..1; `round(share * n)` rows are misaligned.
    """
    rows = np.arange(n)
    todo = rng.permutation(n)[: round(share * n)]
    for _ in range(_MAX_REDRAWS):
        if len(todo) == 0:
            return rows
        rows[todo] = rng.integers(n, size=len(todo))
        todo = todo[fits(todo, rows[todo])]
    raise UserError(f"misaligned: {share} is impossible among {n} items; lower it")
