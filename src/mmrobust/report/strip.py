"""A claim's interval beside its margin, as coordinates of a small drawing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

WIDTH = 220.0
EDGE = 12.0


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Horizontal positions in a drawing `WIDTH` wide; `zero` and `margin` may coincide."""

    low: float
    high: float
    estimate: float
    zero: float
    margin: float


def claim_strip(claim: dict[str, Any]) -> Strip | None:
    """Positions of a claim's interval, 0 and margin on one scale; None without an interval."""
    numbers = [claim[name] for name in ("estimate", "low", "high")]
    if None in numbers:
        return None
    estimate, low, high = map(float, numbers)
    margin = float(claim["margin"] or 0.0)
    left, right = min(low, margin, 0.0), max(high, margin, 0.0)
    scale = (WIDTH - 2 * EDGE) / ((right - left) or 1.0)

    def at(value: float) -> float:
        return round(EDGE + (value - left) * scale, 1)

    return Strip(low=at(low), high=at(high), estimate=at(estimate), zero=at(0.0), margin=at(margin))
