"""What a statistic comes to on the cells of a study, from their per-sample outcomes.

Each compares recall at k between cells on the same queries, so intervals are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
import pandas as pd

from mmrobust.claims.statistics import (
    Difference,
    Measure,
    RelativeDrop,
    Selection,
    Statistic,
    Trend,
)
from mmrobust.ensembles import has_recall
from mmrobust.errors import UserError
from mmrobust.evaluation.cells import Cell
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


@singledispatch
def estimate(statistic: Statistic, cells: CellsBySeed, resampling: Resampling) -> Estimate:
    """Value and interval of a statistic.

    Args:
        statistic: what is compared.
        cells: of each of its selections, one a seed in the same order.
        resampling: number of resamples, confidence and generator.

    Raises:
        UserError: cells that lack the recall asked for, or are not about the same queries.
    """
    raise TypeError(f"no estimate of {type(statistic).__name__}")


@estimate.register
def _of_difference(statistic: Difference, cells: CellsBySeed, resampling: Resampling) -> Estimate:
    """Mean over seeds of the paired difference."""
    return _contrast(statistic, cells, resampling)


@estimate.register
def _of_trend(statistic: Trend, cells: CellsBySeed, resampling: Resampling) -> Estimate:
    """Mean over seeds of the paired contrast."""
    return _contrast(statistic, cells, resampling)


@estimate.register
def _of_relative_drop(
    statistic: RelativeDrop, cells: CellsBySeed, resampling: Resampling
) -> Estimate:
    """Mean over seeds of the drop; undefined if a model has no clean success."""
    models = [cells[of] for of in statistic.selections()]
    found, counts = _paired_successes(models, statistic.measure)
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
    statistic: Difference | Trend, cells: CellsBySeed, resampling: Resampling
) -> Estimate:
    """Mean over seeds of a weighted sum of recalls, over the sum of the weights above 0.

    Weights are whole, so that recalls that are equal stay equal: rounding would hide that a
    bootstrap is blind.
    """
    weights = statistic.weights()
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
    size = _gallery_size(measure, cells[0])
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


def _gallery_size(measure: Measure, cell: Cell) -> int:
    """Images of the galleries that are meant in a cell; `UserError` if it has none such."""
    sizes = gallery_sizes(cell.record["counts"])
    if measure.gallery_images is None:
        return sizes[0]
    if measure.gallery_images not in sizes:
        raise UserError(
            f"cell {cell.name} has no galleries of {measure.gallery_images} images "
            f"(allowed: {', '.join(map(str, sizes))})"
        )
    return measure.gallery_images


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
