"""From an interval and a margin to a verdict."""

from __future__ import annotations

from typing import Literal

from mmrobust.evaluation.intervals import Interval

Verdict = Literal["reproduced", "contradicted", "inconclusive", "missing"]


def verdict(interval: Interval | None, margin: float) -> Verdict:
    """Verdict on "the statistic exceeds the margin"; bounds that touch the margin don't decide.

    Args:
        interval: of the statistic; None where it is undefined, which decides nothing.
        margin: fixed, with the claim, before the first test run.
    """
    if interval is None:
        return "inconclusive"
    if interval.low > margin:
        return "reproduced"
    if interval.high < margin:
        return "contradicted"
    return "inconclusive"
