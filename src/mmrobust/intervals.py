"""Confidence intervals over images, by the bootstrap and, where it is blind, exactly.

Queries about one image are not independent (five captions share its pixels), so images are
resampled and never queries: each image is a cluster with its successes and its count. Every
interval here is about the test images that happened to be drawn, in galleries as they were cut.
The interval of a mean over training seeds is about the seeds too, which are resampled beside the
images; of one seed it says nothing about another.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

BOOTSTRAP = "bootstrap_percentile"
EXACT = "clopper_pearson"

_BATCH_VALUES = 2**22  # resampled image indices held at once: 32 MB of int64


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Bounds of a confidence interval and the method that gave them."""

    low: float
    high: float
    method: str


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How intervals are drawn: number of resamples, confidence in (0, 1), and the generator."""

    n_resamples: int
    confidence: float
    generator: np.random.Generator


def bootstrap_of_totals(
    rows: Array, statistic: Callable[[Array], Array], resampling: Resampling
) -> tuple[Array, Array]:
    """Percentile bootstrap of any function of totals over images (scipy.stats.bootstrap).

    All rows share the same resampled images, which is what pairs them. The totals of a batch of
    resamples are one matrix product of how often each image was drawn with the rows, so that
    many metrics cost little more than one.

    Args:
        rows: (R, N) one value a row and image; N at least 2.
        statistic: maps totals (R, B) of B resamples to (M, B) values.
        resampling: number of resamples, confidence and generator.

    Returns:
        Low and high, each (M,); NaN where a resample gave NaN.
    """
    n_images = rows.shape[1]

    def of_drawn(drawn: NDArray[np.int64], axis: int) -> Array:
        assert axis == -1
        drawn = np.atleast_2d(drawn)
        offset = n_images * np.arange(len(drawn))[:, None]
        times = np.bincount((drawn + offset).ravel(), minlength=drawn.size).reshape(drawn.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            return statistic(rows @ times.T.astype(np.float64))

    batch = max(1, _BATCH_VALUES // n_images)
    return percentile_bounds((np.arange(n_images),), of_drawn, resampling, batch=batch)


def percentile_bounds(
    samples: Sequence[NDArray[Any]],
    statistic: Callable[..., Any],
    resampling: Resampling,
    *,
    batch: int | None = None,
) -> tuple[Array, Array]:
    """Percentile bootstrap of one statistic (scipy.stats.bootstrap).

    Args:
        samples: each (N,), resampled alike, which is what pairs them; N at least 2.
        statistic: maps as many resampled arrays, and the `axis` that they are resampled along, to
            its values.
        resampling: number of resamples, confidence and generator.
        batch: resamples computed at once; all if None.

    Returns:
        Low and high, each (M,) for M values; NaN where a resample gave NaN.
    """
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        # NaN bounds are the callers' to handle; scipy's warning speaks of another method.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            tuple(samples),
            statistic,
            n_resamples=resampling.n_resamples,
            batch=batch,
            paired=len(samples) > 1,
            vectorized=True,
            confidence_level=resampling.confidence,
            method="percentile",
            rng=resampling.generator,
        ).confidence_interval
    return np.atleast_1d(found.low), np.atleast_1d(found.high)


def exact_bounds(rate: float, n: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson bounds for a rate among `n`, widened where rate * n is not whole.

    `n` is the number of clusters (images), also where there are several queries to an image:
    queries of one image may agree perfectly, so counting them would claim too much. The bounds
    are conservative for it.
    """
    successes = rate * n
    fewest, most = math.floor(successes + 1e-9), math.ceil(successes - 1e-9)
    low = stats.binomtest(fewest, n).proportion_ci(confidence, method="exact").low
    high = stats.binomtest(most, n).proportion_ci(confidence, method="exact").high
    return float(low), float(high)


def rate_intervals(
    successes: Array, counts: Array, resampling: Resampling
) -> list[Interval | None]:
    """Intervals of many rates sum(successes) / sum(counts) over the same images.

    Bootstrap over images. Where every image has the same rate (all outcomes equal, say), every
    resample gives the same value and the bootstrap says nothing: Clopper-Pearson takes its
    place and is labelled so. Where the rate is about so few images that a resample can miss
    them all, only the images that count are resampled.

    Args:
        successes: (M, N) per rate and image, at most `counts`.
        counts: (M, N).
        resampling: number of resamples, confidence and generator.

    Returns:
        M intervals; None for a rate of nothing (sum(counts) is 0).
    """
    found: list[Interval | None] = [None] * len(successes)
    open_rates = []
    for at, (success, count) in enumerate(zip(successes, counts, strict=True)):
        total = count.sum()
        if total == 0:
            continue
        if np.array_equal(success * total, count * success.sum()):
            n = int(np.count_nonzero(count))
            low, high = exact_bounds(success.sum() / total, n, resampling.confidence)
            found[at] = Interval(low=low, high=high, method=EXACT)
        else:
            open_rates.append(at)
    if open_rates:
        bounds = _rate_bootstrap(successes[open_rates], counts[open_rates], resampling)
        for at, low, high in zip(open_rates, *bounds, strict=True):
            found[at] = Interval(low=float(low), high=float(high), method=BOOTSTRAP)
    return found


def _rate_bootstrap(successes: Array, counts: Array, resampling: Resampling) -> tuple[Array, Array]:
    """Bootstrap bounds of rates; a second round for those that some resample left undefined."""
    low, high = bootstrap_of_totals(np.vstack([successes, counts]), _ratio, resampling)
    for at in np.flatnonzero(np.isnan(low) | np.isnan(high)):
        counted = counts[at] > 0
        rows = np.stack([successes[at, counted], counts[at, counted]])
        low[at : at + 1], high[at : at + 1] = bootstrap_of_totals(rows, _ratio, resampling)
    return low, high


def difference_interval(
    ours: Sequence[Array], theirs: Sequence[Array], counts: Array, resampling: Resampling
) -> Interval:
    """Interval of the rate of one model minus that of another, paired by query.

    Args:
        ours: one (N,) array of successes per image for each training seed.
        theirs: the same queries' successes for the other model.
        counts: (N,) queries per image.
        resampling: number of resamples, confidence and generator.

    Returns:
        Interval of the mean over seeds. Of one seed, or where every image has the same
        difference with every seed, by `gain_intervals`; else images are resampled jointly for
        all seeds, and seeds beside them.
    """
    gains = np.stack(ours) - np.stack(theirs)
    if len(gains) == 1 or np.ptp(gains / counts) == 0:
        (found,) = gain_intervals(gains.sum(axis=0)[None], (counts * len(gains))[None], resampling)
        return found
    draw = _seed_mean(resampling)

    def gain(totals: Array) -> Array:
        return draw(totals[:-1] / totals[-1])

    (low,), (high,) = bootstrap_of_totals(np.vstack([gains, counts]), gain, resampling)
    return Interval(low=float(low), high=float(high), method=BOOTSTRAP)


def _seed_mean(resampling: Resampling) -> Callable[[Array], Array]:
    """Maps values (S, B) of S seeds to the means (1, B) over S seeds drawn with replacement."""
    (generator,) = resampling.generator.spawn(1)

    def mean(values: Array) -> Array:
        drawn = generator.integers(len(values), size=values.shape)
        found: Array = np.take_along_axis(values, drawn, axis=0).mean(axis=0, keepdims=True)
        return found

    return mean


def gain_intervals(gains: Array, counts: Array, resampling: Resampling) -> list[Interval]:
    """Intervals of many paired differences sum(gains) / sum(counts) over the same images.

    Bootstrap over images. If every image has the same difference, bounds come from two
    Clopper-Pearson intervals, of the share won and of the share lost, each at half the error.

    Args:
        gains: (M, N) queries won less queries lost, per difference and image.
        counts: (M, N) queries asked, at least 1 each.
        resampling: number of resamples, confidence and generator.
    """
    per_image = gains / counts
    varied = np.ptp(per_image, axis=1) > 0
    low, high = np.zeros(len(gains)), np.zeros(len(gains))
    if varied.any():
        rows = np.vstack([gains[varied], counts[varied]])
        low[varied], high[varied] = bootstrap_of_totals(rows, _ratio, resampling)
    level = 1 - (1 - resampling.confidence) / 2
    for at in np.flatnonzero(~varied):
        value, n_images = float(per_image[at, 0]), gains.shape[1]
        won = exact_bounds(max(value, 0.0), n_images, level)
        lost = exact_bounds(max(-value, 0.0), n_images, level)
        low[at], high[at] = won[0] - lost[1], won[1] - lost[0]
    return [
        Interval(low=float(a), high=float(b), method=BOOTSTRAP if by_resampling else EXACT)
        for a, b, by_resampling in zip(low, high, varied, strict=True)
    ]


def _ratio(totals: Array) -> Array:
    top, bottom = np.split(totals, 2)
    return top / bottom


def relative_drop_interval(
    attacked: Sequence[Array], clean: Sequence[Array], counts: Array, resampling: Resampling
) -> Interval:
    """Interval of 1 - (rate under attack / clean rate), paired by query, mean over seeds.

    Args:
        attacked: one (N,) array of successes per image for each training seed.
        clean: the same models' successes on clean data; no seed may have none.
        counts: (N,) queries per image.
        resampling: number of resamples, confidence and generator.

    Returns:
        Bootstrap interval, over seeds too where there are several. Where all resamples agree
        (nothing survives the attack, say) or some resample holds no clean success, each rate is
        bounded by Clopper-Pearson with the error shared out; low is then -inf if a
        clean rate can't be told from 0.
    """
    n_seeds, n_images = len(clean), len(counts)
    draw = _seed_mean(resampling)

    def drop(totals: Array) -> Array:
        top, bottom = np.split(totals, 2)
        return draw(1 - top / bottom)

    if n_images > 1:
        rows = np.vstack([*attacked, *clean])
        (low,), (high,) = bootstrap_of_totals(rows, drop, resampling)
        if np.isfinite(low) and np.isfinite(high) and high - low > 1e-12:
            return Interval(low=float(low), high=float(high), method=BOOTSTRAP)
    level = 1 - (1 - resampling.confidence) / (2 * n_seeds)
    lows, highs = [], []
    for hit, base in zip(attacked, clean, strict=True):
        hit_low, hit_high = exact_bounds(hit.sum() / counts.sum(), n_images, level)
        base_low, base_high = exact_bounds(base.sum() / counts.sum(), n_images, level)
        lows.append(1 - hit_high / base_low if base_low > 0 else -math.inf)
        highs.append(1 - hit_low / base_high)
    return Interval(low=float(np.mean(lows)), high=float(np.mean(highs)), method=EXACT)
