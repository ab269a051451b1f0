from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from mmrobust.claims.estimates import Estimate
from mmrobust.claims.verdicts import Judgement, Verdict, holm, verdict
from mmrobust.intervals import Interval


def estimate(low: float, high: float, seeds: tuple[float, ...] | None = None) -> Estimate:
    middle = (low + high) / 2
    return Estimate(
        value=middle,
        interval=Interval(low=low, high=high, method="m"),
        per_seed=seeds or (middle,),
        n=10,
        images=10,
    )


@pytest.mark.parametrize(
    ("low", "high", "margin", "expected"),
    [
        (0.1, 0.3, 0.0, "reproduced"),
        (0.1, 0.3, 0.1, "inconclusive"),
        (0.1, 0.3, 0.2, "inconclusive"),
        (0.1, 0.3, 0.3, "inconclusive"),
        (0.1, 0.3, 0.4, "contradicted"),
        (-0.3, -0.1, 0.0, "contradicted"),
        (0.0, 0.0, 0.0, "inconclusive"),
    ],
)
def test_verdict(low: float, high: float, margin: float, expected: str) -> None:
    assert verdict(estimate(low, high), margin) == expected


def test_nothing_is_decided_by_what_is_undefined() -> None:
    nothing = Estimate(value=None, interval=None, per_seed=(), n=0, images=0)
    assert verdict(nothing, 0.0) == "inconclusive"


def test_all_seeds_must_lie_on_the_side_of_the_interval() -> None:
    assert verdict(estimate(0.1, 0.3, (0.1, 0.2, 0.3)), 0.0) == "reproduced"
    assert verdict(estimate(0.1, 0.3, (-0.1, 0.4, 0.3)), 0.0) == "inconclusive"
    assert verdict(estimate(-0.3, -0.1, (0.1, -0.4, -0.3)), 0.0) == "inconclusive"


def by_p_value(p: float) -> Callable[[float], Verdict]:
    """A claim that is decided wherever its p-value is below the error allowed."""
    return lambda confidence: "reproduced" if p <= 1 - confidence + 1e-12 else "inconclusive"


def stepped_down(p_values: list[float], alpha: float) -> list[bool]:
    """Holm's procedure as he writes it: ordered p-values against alpha / (m - i)."""
    order = np.argsort(p_values)
    rejected = [False] * len(p_values)
    for step, at in enumerate(order):
        if p_values[at] > alpha / (len(p_values) - step):
            break
        rejected[at] = True
    return rejected


def test_it_is_holms_procedure() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        p_values = (rng.random(6) ** 3).tolist()
        found = holm([by_p_value(p) for p in p_values], confidence=0.95)
        decided = [judgement.verdict == "reproduced" for judgement in found]
        assert decided == stepped_down(p_values, 0.05)
        seen.add(sum(decided))
    assert len(seen) > 4


def test_claims_that_are_judged_elsewhere_count_as_open() -> None:
    """A claim judged alone is decided only if it is decided among all, whatever these are."""
    assert holm([by_p_value(0.04)], confidence=0.95, beside=1) == [
        Judgement("inconclusive", pytest.approx(0.975))
    ]
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(300):
        p_values = (rng.random(6) ** 3).tolist()
        among_all = holm([by_p_value(p) for p in p_values], confidence=0.95)
        for at, p in enumerate(p_values):
            [alone] = holm([by_p_value(p)], confidence=0.95, beside=5)
            kinds.add((alone.verdict, among_all[at].verdict))
    assert kinds == {
        ("reproduced", "reproduced"),
        ("inconclusive", "reproduced"),
        ("inconclusive", "inconclusive"),
    }


def test_the_confidence_falls_as_claims_are_decided() -> None:
    found = holm([by_p_value(p) for p in (0.3, 0.001, 0.02, 0.04)], confidence=0.95)
    assert [of.verdict for of in found] == ["inconclusive", "reproduced"] + ["inconclusive"] * 2
    assert [round(of.confidence, 6) for of in found] == pytest.approx(
        [1 - 0.05 / 3, 0.9875] + [1 - 0.05 / 3] * 2
    )
    assert holm([], confidence=0.95) == []
    assert holm([by_p_value(0.04)], confidence=0.95) == [
        Judgement("reproduced", pytest.approx(0.95))
    ]


def test_false_verdicts_stay_as_rare_as_promised() -> None:
    """Ten claims without an effect, judged by normal intervals: few families have any verdict."""
    rng = np.random.default_rng(1)

    def claim(mean: float) -> Callable[[float], Verdict]:
        def judge(confidence: float) -> Verdict:
            reach = float(stats.norm.ppf(0.5 + confidence / 2))
            return verdict(estimate(mean - reach, mean + reach), 0.0)

        return judge

    families = rng.standard_normal((600, 10))
    wrong = [
        any(of.verdict != "inconclusive" for of in holm([claim(x) for x in row], confidence=0.9))
        for row in families.tolist()
    ]
    assert 0.06 < np.mean(wrong) < 0.14
