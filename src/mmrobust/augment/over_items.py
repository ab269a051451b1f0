"""Means of values of items with confidence intervals, by the bootstrap over items.

An item's augmentations share its picture and its captions, so that items are resampled and never
single augmentations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmrobust.intervals import Resampling, exact_bounds, percentile_bounds
from mmrobust.randomness import numpy_generator

Array = NDArray[np.float64]

CONFIDENCE = 0.95
N_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measure: mean over items with its bootstrap interval over items.

    Fields:
        value: None where the measure is undefined.
        low: lower bound; None where no interval is drawn.
        high: upper bound; None where no interval is drawn.
        items: items that it is about.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    items: int


@dataclass(frozen=True)
class OverItems:
    """Summarises values of `n_items` items; all measures are resampled alike."""

    n_items: int
    seed: int

    def bare(self, value: float | None) -> Estimate:
        """A value of all items together, without interval."""
        return Estimate(value=value, items=self.n_items)

    def mean(self, values: Array | None) -> Estimate:
        """Mean over the items whose value is not NaN; undefined if there are none."""
        known = np.empty(0) if values is None else values[~np.isnan(values)]
        if len(known) == 0:
            return Estimate(value=None, items=self.n_items if values is None else 0)
        low, high = self._bounds((known,), np.mean)
        return Estimate(value=float(known.mean()), low=low, high=high, items=len(known))

    def share(self, shares: Array | None) -> Estimate:
        """Mean of shares; if all items agree, where a bootstrap is blind, bounds are exact.

        Clopper-Pearson over the items, of the nearest whole numbers of them.
        """
        if shares is None or np.ptp(shares) > 0:
            return self.mean(shares)
        value = float(shares[0])
        low, high = exact_bounds(value, len(shares), CONFIDENCE)
        return Estimate(value=value, low=low, high=high, items=len(shares))

    def ratio(self, top: Array, bottom: Array) -> Estimate:
        """Ratio of two means over the same items, paired.

        Undefined unless the interval of `bottom`'s mean lies above 0: a ratio to what can't be
        told from 0 says nothing.
        """
        base = self.mean(bottom)
        if base.value is None or base.low is None or base.low <= 0:
            return self.bare(None)

        def statistic(a: Array, b: Array, axis: int) -> Array:
            ratio: Array = a.mean(axis) / b.mean(axis)
            return ratio

        low, high = self._bounds((top, bottom), statistic)
        value = float(top.mean() / bottom.mean())
        return Estimate(value=value, low=low, high=high, items=self.n_items)

    def _bounds(
        self, samples: Sequence[Array], statistic: Callable[..., Any]
    ) -> tuple[float | None, float | None]:
        """Percentile bootstrap over items, the same for each sample; None for a single item."""
        if len(samples[0]) < 2:
            return None, None
        resampling = Resampling(
            n_resamples=N_RESAMPLES,
            confidence=CONFIDENCE,
            generator=numpy_generator(self.seed, "bootstrap"),
        )
        low, high = percentile_bounds(samples, statistic, resampling)
        return low.item(), high.item()
