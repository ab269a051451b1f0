"""Statistics that claims are judged by, computed from per-sample outcomes of cells.

Each compares recall at k between cells on the same queries, so intervals are paired. Adding one
is a class here and a line in `STATISTICS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mmrobust.errors import UserError
from mmrobust.evaluation.cells import CLEAN, Cell
from mmrobust.evaluation.intervals import (
    Array,
    Interval,
    Resampling,
    difference_interval,
    relative_drop_interval,
)
from mmrobust.evaluation.metrics import per_image, same_queries
from mmrobust.evaluation.records import gallery_sizes


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Cells of one defence under one attack, over all training seeds."""

    defence: str
    attack: str


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Which recall: protocol, direction, labels, k and gallery size.

    `gallery_images` is None for the main gallery size of the cells, the first in their counts.
    """

    protocol: str
    direction: str
    labels: str
    k: int
    gallery_images: int | None = None

    def __str__(self) -> str:
        how = f"{self.protocol}, {self.labels}"
        if self.gallery_images is not None:
            how += f", galleries of {self.gallery_images} images"
        return f"{self.direction} recall at {self.k} ({how})"

    def gallery_size(self, cell: Cell) -> int:
        """Images of the galleries that are meant in a cell; `UserError` if it has none such."""
        sizes = gallery_sizes(cell.record["counts"])
        if self.gallery_images is None:
            return sizes[0]
        if self.gallery_images not in sizes:
            raise UserError(
                f"cell {cell.name} has no galleries of {self.gallery_images} images "
                f"(allowed: {', '.join(map(str, sizes))})"
            )
        return self.gallery_images


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Value of a statistic: mean over seeds with its interval over images.

    Attributes:
        value: mean over seeds; None where it is undefined, and then so is `interval`.
        interval: over the test images, for the mean over seeds.
        per_seed: value of each seed, in the order of the seeds.
        n: queries (of one seed).
    """

    value: float | None
    interval: Interval | None
    per_seed: tuple[float, ...]
    n: int


CellsBySeed = Mapping[Selection, Sequence[Cell]]


class Statistic(Protocol):
    """What the ledger needs of a statistic."""

    def selections(self) -> tuple[Selection, ...]:
        """Cells that are compared."""

    def describe(self) -> str:
        """One line for the ledger."""

    def estimate(self, cells: CellsBySeed, resampling: Resampling) -> Estimate:
        """Value and interval from the selected cells, one a seed in the same order."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Recall of cell `a` minus recall of cell `b`."""

    measure: Measure
    a: Selection
    b: Selection

    def selections(self) -> tuple[Selection, ...]:
        """Both sides."""
        return (self.a, self.b)

    def describe(self) -> str:
        """Name of the recall and of both sides."""
        sides = f"{self.a.defence} under {self.a.attack} - {self.b.defence} under {self.b.attack}"
        return f"difference of {self.measure}: {sides}"

    def estimate(self, cells: CellsBySeed, resampling: Resampling) -> Estimate:
        """Mean over seeds of the paired difference."""
        ours, theirs, counts = _paired_successes(cells[self.a], cells[self.b], self.measure)
        total = counts.sum()
        per_seed = [float((a - b).sum() / total) for a, b in zip(ours, theirs, strict=True)]
        return Estimate(
            value=float(np.mean(per_seed)),
            interval=difference_interval(ours, theirs, counts, resampling),
            per_seed=tuple(per_seed),
            n=int(total),
        )


@dataclass(frozen=True, kw_only=True)
class RelativeDrop:
    """1 - (recall under the attack / clean recall of the same model)."""

    measure: Measure
    cell: Selection

    @property
    def clean(self) -> Selection:
        """Clean cells of the same models."""
        return Selection(defence=self.cell.defence, attack=CLEAN)

    def selections(self) -> tuple[Selection, ...]:
        """The attacked cells and the clean ones."""
        return (self.cell, self.clean)

    def describe(self) -> str:
        """Name of the recall, the model and the attack."""
        return f"relative drop of {self.measure}: {self.cell.defence} under {self.cell.attack}"

    def estimate(self, cells: CellsBySeed, resampling: Resampling) -> Estimate:
        """Mean over seeds of the drop; undefined if a model has no clean success."""
        hit, base, counts = _paired_successes(cells[self.cell], cells[self.clean], self.measure)
        n = int(counts.sum())
        if any(successes.sum() == 0 for successes in base):
            return Estimate(value=None, interval=None, per_seed=(), n=n)
        per_seed = [float(1 - a.sum() / c.sum()) for a, c in zip(hit, base, strict=True)]
        return Estimate(
            value=float(np.mean(per_seed)),
            interval=relative_drop_interval(hit, base, counts, resampling),
            per_seed=tuple(per_seed),
            n=n,
        )


def _paired_successes(
    ours: Sequence[Cell], theirs: Sequence[Cell], measure: Measure
) -> tuple[list[Array], list[Array], Array]:
    """Successes per image (N,) of both sides for each seed, and queries per image (N,)."""
    reference = ours[0]
    for cell in (*ours, *theirs):
        if not same_queries(cell.outcomes, reference.outcomes):
            raise UserError(
                f"cells {reference.name} and {cell.name} are not about the same queries "
                "and can't be paired (their data or galleries differ)"
            )
    frame = reference.outcomes
    chosen = (
        (frame["protocol"] == measure.protocol)
        & (frame["direction"] == measure.direction)
        & (frame["labels"] == measure.labels)
        & (frame["gallery_images"] == measure.gallery_size(reference))
    ).to_numpy()
    image = frame["image"].to_numpy()[chosen]
    n_images = int(image.max()) + 1

    def successes(cell: Cell) -> Array:
        return per_image(image, cell.outcomes["rank"].to_numpy()[chosen] <= measure.k, n_images)

    counts = per_image(image, np.ones(len(image)), n_images)
    return [successes(cell) for cell in ours], [successes(cell) for cell in theirs], counts
