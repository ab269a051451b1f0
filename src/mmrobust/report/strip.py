"""A claim's interval beside its margin, as coordinates of a small drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

WIDTH = 220.0
EDGE = 12.0


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Horizontal positions in a drawing `WIDTH` wide; `zero` and `margin` may coincide.

    `unbounded` says that the interval has no lower end: `low` is then the edge of the drawing.
    """

    low: float
    high: float
    estimate: float
    zero: float
    margin: float
    unbounded: bool


def claim_strip(claim: dict[str, Any]) -> Strip | None:
    """Positions of a claim's interval, 0 and margin on one scale; None without an interval."""
    numbers = [claim[name] for name in ("estimate", "low", "high")]
    if None in numbers:
        return None
    estimate, low, high = map(float, numbers)
    margin, unbounded = float(claim["margin"]), math.isinf(low)
    left, right = min(estimate if unbounded else low, margin, 0.0), max(high, margin, 0.0)
    scale = (WIDTH - 2 * EDGE) / ((right - left) or 1.0)

    def at(value: float) -> float:
        return round(EDGE + (value - left) * scale, 1)

    return Strip(
        low=0.0 if unbounded else at(low),
        high=at(high),
        estimate=at(estimate),
        zero=at(0.0),
        margin=at(margin),
        unbounded=unbounded,
    )
