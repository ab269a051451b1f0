from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import linalg

from mmrobust.augment.distribution_gap import (
    BLOCKS,
    DISTANCES,
    Pool,
    distribution_gap,
    frechet_distance,
    gap_floor,
    median_length_difference,
    polynomial_mmd2,
)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def with_standard_deviations(deviations: np.ndarray) -> np.ndarray:
    """A sample of mean 0 whose covariance is diagonal and exact: one pair of points an axis."""
    size = np.sqrt((2 * len(deviations) - 1) / 2) * np.diag(deviations)
    return np.concatenate([size, -size])


@pytest.mark.parametrize("n_rows", [200, 5])
def test_frechet_distance_of_a_shift_is_its_square(n_rows: int) -> None:
    x, shift = normal(0, n_rows, 12), normal(1, 12)
    assert frechet_distance(x, x + shift) == pytest.approx((shift**2).sum())


def test_frechet_distance_in_one_dimension() -> None:
    x, y = normal(0, 50, 1), 3 + 2 * normal(1, 70, 1)
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected)


def test_frechet_distance_of_diagonal_covariances() -> None:
    a, b = np.array([1.0, 2.0, 0.5, 0.0]), np.array([3.0, 2.0, 0.0, 0.7])
    x, y = with_standard_deviations(a), with_standard_deviations(b)
    assert np.cov(x.T) == pytest.approx(np.diag(a**2))
    assert frechet_distance(x, y) == pytest.approx(((a - b) ** 2).sum())


def test_frechet_distance_of_a_scaled_sample() -> None:
    x = normal(0, 30, 6)
    scaled = x.mean(axis=0) + 3 * (x - x.mean(axis=0))
    assert frechet_distance(x, scaled) == pytest.approx(4 * np.trace(np.cov(x.T)))


def test_frechet_distance_agrees_with_the_root_of_the_product_of_covariances() -> None:
    x, y = normal(0, 90, 8) @ normal(1, 8, 8), normal(2, 60, 8) @ normal(3, 8, 8) + 1
    a, b = np.cov(x.T), np.cov(y.T)
    root = linalg.sqrtm(a @ b).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root)
    assert frechet_distance(x, y) == pytest.approx(expected)


def test_frechet_distance_keeps_its_digits_without_full_rank() -> None:
    """Fewer points than dimensions, and a subspace that has no direction of the other's."""
    x = np.zeros((5, 40))
    x[:, :20] = normal(0, 5, 20)
    aside = np.roll(x, 20, axis=1)
    means = ((x.mean(axis=0) - aside.mean(axis=0)) ** 2).sum()
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(x, aside) == pytest.approx(means + 2 * np.trace(np.cov(x.T)))


def slow_mmd2(x: np.ndarray, y: np.ndarray, *, unbiased: bool = True) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    def within(z: np.ndarray) -> float:
        kept = [
            kernel(z[i], z[j])
            for i in range(len(z))
            for j in range(len(z))
            if i != j or not unbiased
        ]
        return float(np.mean(kept))

    return within(x) + within(y) - 2 * float(np.mean([kernel(a, b) for a in x for b in y]))


@pytest.mark.parametrize("chunk_rows", [1, 7, 1024])
def test_mmd2_is_that_of_the_double_loop(chunk_rows: int) -> None:
    x, y = normal(0, 23, 5), 0.5 + 2 * normal(1, 17, 5)
    assert polynomial_mmd2(x, y, chunk_rows=chunk_rows) == pytest.approx(slow_mmd2(x, y))


def test_mmd2_of_one_distribution_is_0_on_average() -> None:
    """Over 400 pairs of samples; an estimate that kept the pairs of a row with itself is not."""
    draws = [(normal(2 * seed, 12, 3), normal(2 * seed + 1, 9, 3)) for seed in range(400)]
    found = [polynomial_mmd2(x, y) for x, y in draws]
    error = np.std(found) / 20
    assert abs(np.mean(found)) < 3 * error
    assert np.mean([slow_mmd2(x, y, unbiased=False) for x, y in draws[:100]]) > 10 * error


def test_mmd2_tells_unit_vectors_of_equal_means_apart() -> None:
    """Two of three pairs within a sample have the cosine 1 or -1, all between samples have 0."""
    right = np.array([[1.0, 0.0], [-1.0, 0.0]] * 3)
    up = right[:, ::-1]
    same_sign = 2 / 5  # of the pairs of different rows
    assert DISTANCES["mmd2"](right, up) == pytest.approx(2 * 8 * same_sign - 2 * 1)


def test_an_item_is_drawn_once_and_each_of_its_vectors_as_often() -> None:
    pool = Pool(np.arange(6.0)[:, None], np.array([0, 0, 1, 2, 2, 2]))
    rng = np.random.default_rng(0)
    drawn = np.array([pool.draw(rng)[:, 0] for _ in range(3000)])
    assert pool.item[drawn.astype(int)].tolist() == [[0, 1, 2]] * 3000
    counts = Counter(drawn.ravel().tolist())
    assert [counts[row] / 3000 for row in range(6)] == pytest.approx(
        [1 / 2, 1 / 2, 1, 1 / 3, 1 / 3, 1 / 3], abs=0.03
    )


@pytest.mark.parametrize("copies", [1, 3])
def test_copies_of_the_originals_have_the_gap_of_the_floor(copies: int) -> None:
    originals = unit(normal(0, 41, 6))
    pool = Pool(originals, np.arange(41))
    made = Pool(np.repeat(originals, copies, axis=0), np.repeat(np.arange(41), copies))
    floor = gap_floor(pool, seed=1)
    assert distribution_gap(made, pool, seed=1) == pytest.approx(floor, rel=1e-9)
    assert floor["frechet_distance"] > 0.01  # type: ignore[operator]


def test_gap_of_a_shift_stands_above_the_floor_and_grows() -> None:
    originals = Pool(unit(normal(0, 200, 6)), np.arange(200))
    floor = gap_floor(originals, seed=1)
    shift = np.array([1.0, 0, 0, 0, 0, 0])
    gaps = [
        distribution_gap(
            Pool(unit(originals.vectors + size * shift), np.arange(200)), originals, seed=1
        )
        for size in (0.5, 1.0)
    ]
    for name, of_floor in floor.items():
        assert of_floor is not None
        assert of_floor < gaps[0][name] / 3 < gaps[1][name] / 6  # type: ignore[operator]


def test_gap_is_of_all_augmentations_alike() -> None:
    """Half of what was made is far away: the gap lies between that of none and that of all."""
    originals = Pool(unit(normal(0, 100, 6)), np.arange(100))
    away = unit(originals.vectors + np.array([2.0, 0, 0, 0, 0, 0]))
    both = np.stack([originals.vectors, away], axis=1).reshape(-1, 6)
    found = [
        distribution_gap(made, originals, seed=1)["mmd2"]
        for made in (
            originals,
            Pool(both, np.repeat(np.arange(100), 2)),
            Pool(away, np.arange(100)),
        )
    ]
    # Of the squared distance of two means, half of the way is a quarter.
    assert found[1] / found[2] == pytest.approx(1 / 4, abs=0.08)  # type: ignore[operator]
    assert abs(found[0]) < 0.1 * found[1]  # type: ignore[operator, arg-type]


def test_either_half_is_compared_with_the_other_in_halvings_that_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[frozenset[float], frozenset[float]]] = []

    def noting(x: np.ndarray, y: np.ndarray) -> float:
        seen.append((frozenset(x[:, 0].tolist()), frozenset(y[:, 0].tolist())))
        return float(len(seen))

    monkeypatch.setattr("mmrobust.augment.distribution_gap.DISTANCES", {"order": noting})
    pool = Pool(np.arange(30.0)[:, None], np.arange(30))
    assert distribution_gap(pool, pool, seed=0) == {"order": np.mean(range(1, 2 * BLOCKS + 1))}
    for (made, originals), way_back in zip(seen[::2], seen[1::2], strict=True):
        assert len(made) == len(originals) == 15
        assert made | originals == set(range(30))
        assert way_back == (originals, made)
    assert len(set(seen)) == 2 * BLOCKS


def test_gap_of_too_few_items_is_undefined() -> None:
    pool = Pool(unit(normal(0, 3, 6)), np.arange(3))
    assert distribution_gap(pool, pool, seed=0) == {"frechet_distance": None, "mmd2": None}
    assert gap_floor(pool, seed=0) == {"frechet_distance": None, "mmd2": None}


def test_median_length_difference_counts_words() -> None:
    made = ["a red ring.", "a very big red ring", "ring , star"]
    assert (
        median_length_difference(made, ["star", "a star", "a big star", "a big blue star"]) == 0.5
    )
