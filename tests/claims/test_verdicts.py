from __future__ import annotations

import math

import pytest

from mmrobust.claims.verdicts import verdict
from mmrobust.evaluation.intervals import BOOTSTRAP, Interval


@pytest.mark.parametrize(
    ("low", "high", "margin", "expected"),
    [
        (0.01, 0.20, 0.0, "reproduced"),
        (-0.20, -0.01, 0.0, "contradicted"),
        (-0.05, 0.05, 0.0, "inconclusive"),
        (0.00, 0.20, 0.0, "inconclusive"),  # touching the margin is not exceeding it
        (-0.20, 0.00, 0.0, "inconclusive"),
        (0.76, 0.99, 0.75, "reproduced"),
        (0.10, 0.74, 0.75, "contradicted"),
        (0.70, 0.80, 0.75, "inconclusive"),
        (-math.inf, 1.0, 0.75, "inconclusive"),
        (-math.inf, 0.5, 0.75, "contradicted"),
    ],
)
def test_verdict(low: float, high: float, margin: float, expected: str) -> None:
    assert verdict(Interval(low=low, high=high, method=BOOTSTRAP), margin) == expected


def test_nothing_is_decided_by_what_is_undefined() -> None:
    assert verdict(None, 0.0) == "inconclusive"
