from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mmrobust.intervals import (
    BOOTSTRAP,
    EXACT,
    Interval,
    Resampling,
    difference_interval,
    exact_bounds,
    rate_intervals,
    relative_drop_interval,
)


def resampling(seed: int = 0, n_resamples: int = 2000) -> Resampling:
    generator = np.random.default_rng(seed)
    return Resampling(n_resamples=n_resamples, confidence=0.95, generator=generator)


def rate_interval(successes: np.ndarray, counts: np.ndarray, *, seed: int = 0) -> Interval:
    (found,) = rate_intervals(successes[None], counts[None], resampling(seed))
    assert found is not None
    return found


def test_coverage_of_clustered_rates() -> None:
    """95 % intervals for 100 images of 5 queries hold the truth in 90 to 99 % of 300 draws."""
    rng = np.random.default_rng(2024)
    a, b, repetitions = 1.2, 2.0, 300
    truth = a / (a + b)
    chances = rng.beta(a, b, size=(repetitions, 100))
    counts = np.full(100, 5.0)
    covered = 0
    for repetition, chance in enumerate(chances):
        successes = rng.binomial(5, chance).astype(float)
        (found,) = rate_intervals(successes[None], counts[None], resampling(repetition, 500))
        assert found is not None
        covered += found.low <= truth <= found.high
    assert 0.90 <= covered / repetitions <= 0.99


def test_clusters_are_not_taken_for_independent_queries() -> None:
    rng = np.random.default_rng(0)
    together = 5.0 * rng.integers(0, 2, 400)  # all five queries of an image agree
    counts = np.full(400, 5.0)
    found = rate_interval(together, counts)
    alone = rate_interval(together / 5, counts / 5)
    assert found.high - found.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_bootstrap_is_that_of_scipy_on_plain_outcomes() -> None:
    outcomes = (np.arange(200) % 3 == 0).astype(float)
    expected = stats.bootstrap(
        (outcomes,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(7)
    ).confidence_interval
    found = rate_interval(outcomes, np.ones(200), seed=7)
    assert found.method == BOOTSTRAP
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_many_rates_share_the_resamples() -> None:
    rng = np.random.default_rng(1)
    successes = rng.integers(0, 2, (6, 300)).astype(float)
    counts = np.ones((6, 300))
    together = rate_intervals(successes, counts, resampling(3))
    alone = [rate_interval(row, one, seed=3) for row, one in zip(successes, counts, strict=True)]
    assert together == alone


@pytest.mark.parametrize(("value", "low", "high"), [(0.0, 0.0, 0.0362), (1.0, 0.9638, 1.0)])
def test_equal_outcomes_get_the_exact_interval_over_images(
    value: float, low: float, high: float
) -> None:
    counts = np.full(100, 5.0)
    found = rate_interval(value * counts, counts)
    assert found.method == EXACT
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_equal_rates_of_all_images_get_a_widened_exact_interval() -> None:
    found = rate_interval(np.full(7, 2.0), np.full(7, 5.0))  # 2.8 of 7
    assert found.method == EXACT
    assert found.low == exact_bounds(2 / 7, 7, 0.95)[0]
    assert found.high == exact_bounds(3 / 7, 7, 0.95)[1]


def test_an_exact_interval_is_over_the_images_that_count() -> None:
    """All queries of 20 images of a hundred; nothing is asked of the others."""
    counts = np.where(np.arange(100) < 20, 5.0, 0.0)
    found = rate_interval(counts, counts)
    assert found.method == EXACT
    assert (found.low, found.high) == pytest.approx((0.025 ** (1 / 20), 1.0))


def test_rate_of_nothing_has_no_interval() -> None:
    assert rate_intervals(np.zeros((1, 9)), np.zeros((1, 9)), resampling()) == [None]


def test_rate_about_few_images_has_finite_bounds() -> None:
    """Three of 500 images count: many resamples of all images hold none of them."""
    counts, successes = np.zeros(500), np.zeros(500)
    counts[:3], successes[:2] = 1, 1
    found = rate_interval(successes, counts)
    assert found.method == BOOTSTRAP
    assert (found.low, found.high) == (0.0, 1.0)


def test_single_image() -> None:
    found = rate_interval(np.array([1.0]), np.array([2.0]))
    assert (found.method, found.low, found.high) == (EXACT, 0.0, 1.0)


def test_pairing_narrows_a_difference() -> None:
    rng = np.random.default_rng(5)
    easy = rng.integers(0, 2, 1000).astype(float)
    flipped = rng.random(1000) < 0.02
    ours = np.where(flipped, 1.0, easy)
    counts = np.ones(1000)
    paired = difference_interval([ours], [easy], counts, resampling())
    unpaired = difference_interval([ours], [rng.permutation(easy)], counts, resampling())
    assert paired.low > 0
    assert paired.high - paired.low < (unpaired.high - unpaired.low) / 4


def seeds_that_differ() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Three pairs of models: the second is as good, 0.1 worse and 0.2 worse."""
    rng = np.random.default_rng(6)
    ours = [(rng.random(400) < 0.6).astype(float) for _ in range(3)]
    return ours, [(rng.random(400) < 0.6 - 0.1 * seed).astype(float) for seed in range(3)]


def test_difference_over_seeds_resamples_seeds_beside_images() -> None:
    """By the law of total variance, within the error of 2,000 resamples."""
    ours, theirs = seeds_that_differ()
    found = difference_interval(ours, theirs, np.ones(400), resampling(1))
    gains = np.stack(ours) - np.stack(theirs)
    per_seed = gains.mean(axis=1)
    # Drawn seeds may repeat, and share their resampled images.
    covariance = np.cov(gains, bias=True) / 400
    same, other = np.trace(covariance) / 3, covariance.sum() / 9
    variance = other + (same - other) / 3 + per_seed.var() / 3
    assert (found.low + found.high) / 2 == pytest.approx(per_seed.mean(), abs=0.01)
    assert found.high - found.low == pytest.approx(2 * 1.96 * variance**0.5, rel=0.1)
    alone = difference_interval(
        [np.mean(ours, axis=0)], [np.mean(theirs, axis=0)], np.ones(400), resampling(1)
    )
    assert found.high - found.low > 1.5 * (alone.high - alone.low)


def test_seeds_that_agree_widen_nothing() -> None:
    ours, theirs = seeds_that_differ()
    one = difference_interval(ours[:1], theirs[:1], np.ones(400), resampling(1))
    same = difference_interval(ours[:1] * 3, theirs[:1] * 3, np.ones(400), resampling(1))
    assert (same.low, same.high) == pytest.approx((one.low, one.high), abs=1e-12)


def test_a_drop_over_seeds_resamples_seeds_beside_images() -> None:
    clean = [np.ones(4000)] * 3
    left = [(np.arange(4000) % 10 < kept).astype(float) for kept in (1, 3, 5)]
    found = relative_drop_interval(left, clean, np.ones(4000), resampling(1))
    # All three draws are of the best seed, or of the worst, once in 27 each.
    assert found.low == pytest.approx(0.5, abs=0.03)
    assert found.high == pytest.approx(0.9, abs=0.03)


def test_constant_differences_get_an_exact_interval() -> None:
    counts = np.ones(200)
    outcomes = (np.arange(200) % 2).astype(float)
    same = difference_interval([outcomes], [outcomes], counts, resampling())
    assert same.method == EXACT
    assert same.low == -same.high
    assert 0 < same.high < 0.03
    always = difference_interval([counts], [0 * counts], counts, resampling())
    assert always.method == EXACT
    assert 0.9 < always.low < always.high == 1.0


def test_coverage_of_a_paired_difference() -> None:
    rng = np.random.default_rng(11)
    covered = 0
    for repetition in range(300):
        draws = rng.random((2, 150, 4))
        shared = rng.random((150, 1))
        ours = (draws[0] < 0.2 + 0.6 * shared).sum(axis=1).astype(float)
        theirs = (draws[1] < 0.1 + 0.6 * shared).sum(axis=1).astype(float)
        found = difference_interval(
            [ours], [theirs], np.full(150, 4.0), resampling(repetition, 500)
        )
        covered += found.low <= 0.1 <= found.high
    assert 0.90 <= covered / 300 <= 0.99


def test_relative_drop() -> None:
    rng = np.random.default_rng(8)
    clean = (rng.random(2000) < 0.6).astype(float)
    attacked = clean * (rng.random(2000) < 0.1)
    found = relative_drop_interval([attacked], [clean], np.ones(2000), resampling())
    assert found.method == BOOTSTRAP
    assert 0.86 < found.low < 1 - attacked.sum() / clean.sum() < found.high < 0.94


def test_relative_drop_where_nothing_survives() -> None:
    clean = (np.arange(500) % 2).astype(float)
    found = relative_drop_interval([0 * clean], [clean], np.ones(500), resampling())
    assert found.method == EXACT
    assert 0.97 < found.low < found.high == 1.0


def test_the_error_of_a_drop_is_shared_out_over_the_rates_of_all_seeds() -> None:
    clean = (np.arange(500) % 2).astype(float)
    found = relative_drop_interval([0 * clean] * 3, [clean] * 3, np.ones(500), resampling())
    level = 1 - 0.05 / 6
    left, base = exact_bounds(0.0, 500, level), exact_bounds(0.5, 500, level)
    assert found.method == EXACT
    assert (found.low, found.high) == pytest.approx((1 - left[1] / base[0], 1.0))


def test_relative_drop_from_a_clean_rate_near_zero_is_unbounded_below() -> None:
    clean = np.zeros(500)
    clean[0] = 1
    found = relative_drop_interval([0 * clean], [clean], np.ones(500), resampling())
    assert found.method == EXACT
    assert found.low < 0 or found.low == -math.inf
    assert found.high == 1.0
