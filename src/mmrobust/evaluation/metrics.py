"""Recall at k of a cell and what the attack took of it, with intervals, from per-sample ranks.

Two quantities are called attack success rate in the literature; both are given, by two names:

attack_success_rate: of the queries that the same model answers correctly when nothing is
    attacked, the share that it no longer does. SGA (Lu et al. 2023, arXiv:2307.14061, section 5,
    and its released code, which ships the originally correct queries of its models).
recall_drop: clean recall minus recall under attack, over all queries. What the released code of
    Co-Attack (Zhang et al. 2022, arXiv:2206.09391) reports: a difference of accuracies, not
    divided by the clean one. A query that is answered only under attack counts against it, so
    that it may be below 0.

Neither ranks models of different clean recall: recall under attack does.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmrobust.evaluation.retrieval import select_outcomes
from mmrobust.intervals import (
    BOOTSTRAP,
    Array,
    Interval,
    Resampling,
    gain_intervals,
    rate_intervals,
)

KEYS = ["protocol", "direction", "labels", "gallery_images"]
METRICS = ("recall_at_k", "attack_success_rate", "recall_drop")


@dataclass(frozen=True, kw_only=True)
class Rate:
    """One metric of a cell: successes and counts per attacked image, in the images' order.

    Successes of a recall drop are queries lost less queries won; they may be negative.
    """

    metric: str
    protocol: str
    direction: str
    labels: str
    gallery_images: int
    k: int
    successes: Array
    counts: Array


def per_image(image: NDArray[np.integer], values: NDArray[Any], n_images: int) -> Array:
    """Sums of `values` (Q,) by the image that each query belongs to: (n_images,) float64.

    Images are counted from 0 without gaps: an image that isn't there would be resampled too.
    """
    return np.bincount(image, weights=values, minlength=n_images).astype(np.float64)


def same_queries(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two frames of outcomes are about the same queries in the same order."""
    keys = [*KEYS, "gallery", "query", "image"]
    return one[keys].reset_index(drop=True).equals(other[keys].reset_index(drop=True))


def cell_rates(
    outcomes: pd.DataFrame, clean_outcomes: pd.DataFrame | None, *, ks: Sequence[int]
) -> list[Rate]:
    """Rates of a cell: recall_at_k, and the other two metrics if the clean outcomes are given.

    Args:
        outcomes: per-sample frame of the cell, see `retrieval.split_ranks`; of all items or some.
        clean_outcomes: the same of the same model's clean cell, with the same queries in the
            same order; None for the clean cell itself.
        ks: ranks up to k count as correct.

    Raises:
        ValueError: if the two frames are not about the same queries.
    """
    if clean_outcomes is not None:
        if not same_queries(outcomes, clean_outcomes):
            raise ValueError("attacked and clean outcomes are not about the same queries")
        clean_rank = clean_outcomes["rank"].to_numpy()
    attacked, place = np.unique(outcomes["image"].to_numpy(), return_inverse=True)
    n_images = len(attacked)
    rates = []
    groups = outcomes.reset_index(drop=True).groupby(KEYS, sort=False)
    for key, group in groups:
        protocol, direction, labels, size = map(str, key)
        rate = partial(
            Rate, protocol=protocol, direction=direction, labels=labels, gallery_images=int(size)
        )
        image, rank = place[group.index], group["rank"].to_numpy()
        every = per_image(image, np.ones(len(image)), n_images)
        for k in ks:
            hits = per_image(image, rank <= k, n_images)
            rates.append(rate(metric="recall_at_k", k=k, successes=hits, counts=every))
            if clean_outcomes is not None:
                correct = clean_rank[group.index] <= k
                base = per_image(image, correct, n_images)
                lost = per_image(image, correct & (rank > k), n_images)
                rates.append(rate(metric="attack_success_rate", k=k, successes=lost, counts=base))
                drop = base - hits
                rates.append(rate(metric="recall_drop", k=k, successes=drop, counts=every))
    return rates


def cell_metrics(rates: Sequence[Rate], resampling: Resampling) -> list[dict[str, Any]]:
    """JSON rows of a cell's metrics, sorted by metric, protocol, direction, labels and k.

    `rates` are of one gallery size: each size is a measurement of its own on the same images.
    A rate of nothing (attack success rate of a model that answers no query correctly) has null
    as value, low and high, and `interval` says "none".
    """
    ordered = sorted(
        rates, key=lambda r: (METRICS.index(r.metric), r.protocol, r.direction, r.labels, r.k)
    )
    drops = [rate for rate in ordered if rate.metric == "recall_drop"]
    shares = ordered[: len(ordered) - len(drops)]
    # Both kinds of interval are drawn from the same images.
    again = replace(resampling, generator=deepcopy(resampling.generator))
    intervals = [
        *(rate_intervals(*_stacked(shares), resampling) if shares else []),
        *(gain_intervals(*_stacked(drops), again) if drops else []),
    ]
    return [
        _row(rate, interval, resampling) for rate, interval in zip(ordered, intervals, strict=True)
    ]


def _stacked(rates: Sequence[Rate]) -> tuple[Array, Array]:
    """Successes and counts (M, N) of M rates."""
    return np.stack([rate.successes for rate in rates]), np.stack([rate.counts for rate in rates])


def _row(rate: Rate, interval: Interval | None, resampling: Resampling) -> dict[str, Any]:
    n, successes = int(rate.counts.sum()), int(rate.successes.sum())
    bootstrapped = interval is not None and interval.method == BOOTSTRAP
    return {
        "metric": rate.metric,
        "protocol": rate.protocol,
        "direction": rate.direction,
        "labels": rate.labels,
        "gallery_images": rate.gallery_images,
        "k": rate.k,
        "value": successes / n if n else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "n": n,
        "successes": successes,
        "interval": interval.method if interval else "none",
        "confidence": resampling.confidence,
        "n_resamples": resampling.n_resamples if bootstrapped else 0,
    }


def caption_truth(outcomes: pd.DataFrame, resampling: Resampling) -> dict[str, Any] | None:
    """Share of the attacked captions that are still true of their image; None if none is decided.

    Each caption is counted once, as it stands in the main gallery under own_pair with one-image
    labels, and captions are clustered by image. In an ensemble the captions are those of the
    member that ranks them lowest.

    Args:
        outcomes: with `caption_true`, the main gallery size first.
        resampling: number of resamples, confidence and generator.
    """
    captions = select_outcomes(
        outcomes[outcomes["caption_true"] >= 0],
        protocol="own_pair",
        direction="t2i",
        labels="one_image",
        gallery_images=outcomes["gallery_images"].iloc[0],
    )
    if captions.empty:
        return None
    return caption_share(
        captions["image"].to_numpy(), captions["caption_true"].to_numpy(), resampling
    )


def caption_share(
    image: NDArray[np.integer], holds: NDArray[Any], resampling: Resampling
) -> dict[str, Any]:
    """Share of captions of which something holds, clustered by image, with its interval.

    Args:
        image: (C,) image of each caption; at least one.
        holds: (C,) 1 or true where it holds, else 0 or false.
        resampling: number of resamples, confidence and generator.
    """
    images, place = np.unique(image, return_inverse=True)
    successes = per_image(place, holds, len(images))
    counts = per_image(place, np.ones(len(place)), len(images))
    (interval,) = rate_intervals(successes[None], counts[None], resampling)
    assert interval is not None
    return {
        "value": float(successes.sum() / counts.sum()),
        "low": interval.low,
        "high": interval.high,
        "n": len(place),
        "interval": interval.method,
    }
