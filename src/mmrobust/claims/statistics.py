"""Statistics that claims are judged by, computed from per-sample outcomes of cells.

Each compares recall at k between cells on the same queries, so intervals are paired. Adding one
is a class here and a line in `STATISTICS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from mmrobust.ensembles import has_recall
from mmrobust.errors import UserError
from mmrobust.evaluation.cells import CLEAN, Cell
from mmrobust.evaluation.metrics import per_image, same_queries
from mmrobust.evaluation.records import gallery_sizes
from mmrobust.evaluation.retrieval import of_items, select_outcomes
from mmrobust.evaluation.tables import worst_case
from mmrobust.intervals import (
    Array,
    Interval,
    Resampling,
    difference_interval,
    relative_drop_interval,
)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Cells of one defence under one attack, over all training seeds."""

    defence: str
    attack: str


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a comparison: the mean over some defences under one attack.

    Attributes:
        defences: distinct names, at least one.
        attack: that all of them are under.
    """

    defences: tuple[str, ...]
    attack: str

    def selections(self) -> tuple[Selection, ...]:
        """Cells of each defence."""
        return tuple(Selection(defence=name, attack=self.attack) for name in self.defences)

    def __str__(self) -> str:
        mean = "mean of " if len(self.defences) > 1 else ""
        return f"{mean}{', '.join(self.defences)} under {self.attack}"


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
        interval: over the test images and the seeds, for the mean over seeds.
        per_seed: value of each seed, in the order of the seeds.
        n: queries (of one seed).
        images: images that the queries are about: those that all cells have outcomes of.
    """

    value: float | None
    interval: Interval | None
    per_seed: tuple[float, ...]
    n: int
    images: int


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
    """Recall of side `a` minus recall of side `b`."""

    measure: Measure
    a: Side
    b: Side

    def selections(self) -> tuple[Selection, ...]:
        """Both sides."""
        return (*self.a.selections(), *self.b.selections())

    def describe(self) -> str:
        """Name of the recall and of both sides."""
        return f"difference of {self.measure}: {self.a} - {self.b}"

    def estimate(self, cells: CellsBySeed, resampling: Resampling) -> Estimate:
        """Mean over seeds of the paired difference."""
        n_a, n_b = len(self.a.defences), len(self.b.defences)
        return _contrast([n_b] * n_a + [-n_a] * n_b, self, cells, resampling)


@dataclass(frozen=True, kw_only=True)
class Trend:
    """How much recall rises along a list of defences, such as those of a sweep.

    The linear contrast, which is proportional to the slope of the straight line that fits best:
    the mean recall of the later half less that of the earlier half, each defence weighted by its
    distance from the middle of the list. With four, (3 r4 + r3) / 4 - (3 r1 + r2) / 4. Weights go
    by place, not by dose, and the ends weigh most: a trend above 0 is no proof of every step.
    """

    measure: Measure
    along: Side

    def selections(self) -> tuple[Selection, ...]:
        """All of the list."""
        return self.along.selections()

    def describe(self) -> str:
        """Name of the recall and the list."""
        names = ", ".join(self.along.defences)
        return f"trend of {self.measure} along {names} under {self.along.attack}"

    def estimate(self, cells: CellsBySeed, resampling: Resampling) -> Estimate:
        """Mean over seeds of the paired contrast."""
        last = len(self.along.defences) - 1
        return _contrast([2 * at - last for at in range(last + 1)], self, cells, resampling)


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
        found, counts = _paired_successes([cells[of] for of in self.selections()], self.measure)
        hit, base = found
        n, images = int(counts.sum()), len(counts)
        if any(successes.sum() == 0 for successes in base):
            return Estimate(value=None, interval=None, per_seed=(), n=n, images=images)
        per_seed = [float(1 - a.sum() / c.sum()) for a, c in zip(hit, base, strict=True)]
        return Estimate(
            value=float(np.mean(per_seed)),
            interval=relative_drop_interval(hit, base, counts, resampling),
            per_seed=tuple(per_seed),
            n=n,
            images=images,
        )


def _contrast(
    weights: Sequence[int],
    statistic: Difference | Trend,
    cells: CellsBySeed,
    resampling: Resampling,
) -> Estimate:
    """Mean over seeds of a weighted sum of recalls, over the sum of the weights above 0.

    Args:
        weights: of the statistic's selections, in order; they add up to 0. Whole, so that recalls
            that are equal stay equal: rounding would hide that a bootstrap is blind.
        statistic: whose cells are compared, by its measure.
        cells: of the selections, one a seed.
        resampling: number of resamples, confidence and generator.
    """
    models = [cells[of] for of in statistic.selections()]
    found, counts = _paired_successes(models, statistic.measure)
    sides: list[list[Array]] = []
    for sign in (1, -1):
        shares = [max(sign * weight, 0) for weight in weights]
        sides.append(
            [np.tensordot(shares, of_seed, axes=1) for of_seed in zip(*found, strict=True)]
        )
    ours, theirs = sides
    asked = sum(weight for weight in weights if weight > 0) * counts
    total = asked.sum()
    per_seed = [float((a - b).sum() / total) for a, b in zip(ours, theirs, strict=True)]
    return Estimate(
        value=float(np.mean(per_seed)),
        interval=difference_interval(ours, theirs, asked, resampling),
        per_seed=tuple(per_seed),
        n=int(counts.sum()),
        images=len(counts),
    )


def _paired_successes(
    models: Sequence[Sequence[Cell]], measure: Measure
) -> tuple[list[list[Array]], Array]:
    """Successes per image (N,) of each of `models` for each seed, and queries per image (N,).

    All of `models` have a cell of each seed. Under own_pair items don't interact: cells that
    attack different items are compared on the images that all of them have.
    """
    cells = [cell for of_seeds in models for cell in of_seeds]
    size = measure.gallery_size(cells[0])
    frames = _on_common_images([_measured(cell, measure, size) for cell in cells], measure)
    for cell, frame in zip(cells, frames, strict=True):
        if frame.empty or not same_queries(frame, frames[0]):
            raise UserError(
                f"cells {cells[0].name} and {cell.name} are not about the same queries "
                "and can't be paired (their data or galleries differ)"
            )
    images, place = np.unique(frames[0]["image"].to_numpy(), return_inverse=True)
    found = [
        per_image(place, frame["rank"].to_numpy() <= measure.k, len(images)) for frame in frames
    ]
    counts = per_image(place, np.ones(len(place)), len(images))
    n_seeds = len(models[0])
    return [found[at : at + n_seeds] for at in range(0, len(found), n_seeds)], counts


def _measured(cell: Cell, measure: Measure, gallery_images: int) -> pd.DataFrame:
    """Outcomes of a cell that a measure speaks of; `UserError` if it has none such."""
    if measure.protocol not in cell.record["protocols"]:
        raise UserError(
            f"cell {cell.name} has no outcomes under {measure.protocol} "
            f"(allowed: {', '.join(cell.record['protocols'])})"
        )
    about = worst_case(cell.record)
    if not has_recall(about, measure.direction):
        raise UserError(
            f"cell {cell.name} is the worst case of {about} queries alone, "
            f"not of {measure.direction}"
        )
    return select_outcomes(
        cell.outcomes,
        protocol=measure.protocol,
        direction=measure.direction,
        labels=measure.labels,
        gallery_images=gallery_images,
    )


def _on_common_images(frames: Sequence[pd.DataFrame], measure: Measure) -> list[pd.DataFrame]:
    """Under own_pair the rows about images that are in all frames; else the frames themselves."""
    if measure.protocol != "own_pair":
        return list(frames)
    common = set.intersection(*(set(frame["image"]) for frame in frames))
    return [of_items(frame, sorted(common)) for frame in frames]
