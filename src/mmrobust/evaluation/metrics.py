"""Recall at k and attack success rate of a cell, with intervals, from per-sample ranks.

Attack success rate is conditional, as in SGA: of the queries that the same model answers
correctly when nothing is attacked, the share that it no longer does. (Co-Attack's difference of
accuracies is another quantity.) Models of different clean recall can't be ranked by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmrobust.evaluation.intervals import BOOTSTRAP, Array, Resampling, rate_intervals

KEYS = ["protocol", "direction", "labels", "gallery_images"]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """One metric of a cell: successes and counts per image, in the order of the images."""

    metric: str
    protocol: str
    direction: str
    labels: str
    gallery_images: int
    k: int
    successes: Array
    counts: Array


def per_image(image: NDArray[np.integer], values: NDArray[Any], n_images: int) -> Array:
    """Sums of `values` (Q,) by the image that each query belongs to: (n_images,) float64."""
    return np.bincount(image, weights=values, minlength=n_images).astype(np.float64)


def same_queries(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two frames of outcomes are about the same queries in the same order."""
    keys = [*KEYS, "gallery", "query", "image"]
    return one[keys].reset_index(drop=True).equals(other[keys].reset_index(drop=True))


def cell_rates(
    outcomes: pd.DataFrame, clean_outcomes: pd.DataFrame | None, *, ks: Sequence[int]
) -> list[Rate]:
    """Rates of a cell: recall_at_k, and attack_success_rate if the clean outcomes are given.

    Args:
        outcomes: per-sample frame of the cell, see `retrieval.split_ranks`.
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
    n_images = int(outcomes["image"].max()) + 1
    rates = []
    groups = outcomes.reset_index(drop=True).groupby(KEYS, sort=False)
    for key, group in groups:
        protocol, direction, labels, size = map(str, key)
        rate = partial(
            Rate, protocol=protocol, direction=direction, labels=labels, gallery_images=int(size)
        )
        image, rank = group["image"].to_numpy(), group["rank"].to_numpy()
        every = per_image(image, np.ones(len(image)), n_images)
        for k in ks:
            hits = per_image(image, rank <= k, n_images)
            rates.append(rate(metric="recall_at_k", k=k, successes=hits, counts=every))
            if clean_outcomes is not None:
                correct = clean_rank[group.index] <= k
                base = per_image(image, correct, n_images)
                lost = per_image(image, correct & (rank > k), n_images)
                rates.append(rate(metric="attack_success_rate", k=k, successes=lost, counts=base))
    return rates


def cell_metrics(rates: Sequence[Rate], resampling: Resampling) -> list[dict[str, Any]]:
    """JSON rows of a cell's metrics, sorted by metric, protocol, direction, labels and k.

    `rates` are of one gallery size: each size is a measurement of its own on the same images.
    A rate of nothing (attack success rate of a model that answers no query correctly) has null
    as value, low and high, and `interval` says "none".
    """
    if not rates:
        return []
    ordered = sorted(
        rates, key=lambda r: (r.metric != "recall_at_k", r.protocol, r.direction, r.labels, r.k)
    )
    intervals = rate_intervals(
        np.stack([rate.successes for rate in ordered]),
        np.stack([rate.counts for rate in ordered]),
        resampling,
    )
    rows = []
    for rate, interval in zip(ordered, intervals, strict=True):
        n, successes = int(rate.counts.sum()), int(rate.successes.sum())
        bootstrapped = interval is not None and interval.method == BOOTSTRAP
        rows.append(
            {
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
        )
    return rows
