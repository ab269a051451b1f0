"""Means over defences, against closed forms and a loop over every query."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mmrobust.claims.estimates import Estimate, estimate
from mmrobust.claims.statistics import Difference, Measure, Selection, Side, Trend
from mmrobust.claims.verdicts import verdict
from mmrobust.errors import UserError
from mmrobust.evaluation.cells import Cell, cell_path, read_cell
from mmrobust.intervals import BOOTSTRAP, EXACT, Resampling

Write = Callable[..., None]
Right = Mapping[str, Sequence[int | Sequence[int]]]
"""What each defence answers in each seed: how many, or which images."""

IN_GALLERY = Measure(protocol="full_gallery", direction="i2t", labels="one_image", k=1)


def difference(a: Sequence[str], b: Sequence[str]) -> Difference:
    return Difference(
        measure=IN_GALLERY,
        a=Side(defences=tuple(a), attack="sga"),
        b=Side(defences=tuple(b), attack="sga"),
    )


def cells_of(root: Path, write: Write, right: Right) -> dict[Selection, list[Cell]]:
    found: dict[Selection, list[Cell]] = {}
    for defence, by_seed in right.items():
        for seed, correct in enumerate(by_seed):
            write(root, defence=defence, attack="sga", seed=seed, correct=correct)
        found[Selection(defence=defence, attack="sga")] = [
            read_cell(cell_path(root, defence=defence, seed=seed, attack="sga"))
            for seed in range(len(by_seed))
        ]
    return found


def estimated(statistic: Difference | Trend, cells: Mapping[Selection, Sequence[Cell]]) -> Estimate:
    resampling = Resampling(n_resamples=500, confidence=0.95, generator=np.random.default_rng(1))
    return estimate(statistic, cells, resampling)


def test_a_side_is_named_by_its_defences() -> None:
    one, several = Side(defences=("mat",), attack="sga"), ("mat_eda", "mat_caption")
    assert str(one) == "mat under sga"
    assert difference(several, ["mat"]).describe() == (
        "difference of i2t recall at 1 (full_gallery, one_image): "
        "mean of mat_eda, mat_caption under sga - mat under sga"
    )


def test_a_side_is_the_mean_of_its_defences(tmp_path: Path, write_made_up_cell: Write) -> None:
    right = {"eda": [90, 80], "paraphrase": [60, 50], "caption": [60, 20], "crop": [30, 50]}
    cells = cells_of(tmp_path, write_made_up_cell, {**right, "draw": [10, 10]})
    found = estimated(difference(["eda", "paraphrase", "caption"], ["crop", "draw"]), cells)
    # (90 + 60 + 60) / 3 = 70 against (30 + 10) / 2 = 20, then 50 against 30, of 200.
    assert found.per_seed == pytest.approx((50 / 200, 20 / 200), abs=1e-15)
    assert found.value == pytest.approx(35 / 200, abs=1e-15)
    assert (found.n, found.images) == (200, 200)


def test_a_mean_agrees_with_a_loop_over_the_queries(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    rng, sides = np.random.default_rng(3), (["eda", "paraphrase", "caption"], ["crop", "draw"])
    right = {
        name: [np.flatnonzero(rng.random(200) < rate).tolist() for _ in range(2)]
        for name, rate in zip([*sides[0], *sides[1]], (0.5, 0.4, 0.6, 0.3, 0.5), strict=True)
    }
    found = estimated(difference(*sides), cells_of(tmp_path, write_made_up_cell, right))
    gains = np.zeros((2, 200))
    for seed in range(2):
        for image in range(200):
            ours, theirs = (
                sum(image in right[name][seed] for name in side) / len(side) for side in sides
            )
            gains[seed, image] = ours - theirs
    rng = np.random.default_rng(7)
    resampled = []
    for _ in range(4000):
        images = rng.integers(200, size=200)
        seeds = rng.integers(2, size=2)
        resampled.append(gains[np.ix_(seeds, images)].mean())
    expected = np.quantile(resampled, [0.025, 0.975])
    assert found.per_seed == pytest.approx(gains.mean(axis=1), abs=1e-12)
    assert found.interval is not None
    assert found.interval.method == BOOTSTRAP
    bounds = (found.interval.low, found.interval.high)
    assert bounds == pytest.approx(tuple(expected), abs=0.012)


def test_differences_that_agree_get_an_exact_interval(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    """Of three defences one always answers, and one or the other of the rest."""
    right: Right = {
        "eda": [range(200)],
        "paraphrase": [range(1, 200, 2)],
        "caption": [range(0, 200, 2)],
        "mat": [[]],
    }
    cells = cells_of(tmp_path, write_made_up_cell, right)
    found = estimated(difference(["eda", "paraphrase", "caption"], ["mat"]), cells)
    assert found.value == pytest.approx(2 / 3)
    assert found.interval is not None
    assert found.interval.method == EXACT
    # Clopper-Pearson of 133 and of 134 of 200 (2/3 lies between), and of none, at 0.975 each.
    won = (stats.beta.ppf(0.0125, 133, 68), stats.beta.ppf(0.9875, 135, 66))
    none = 1 - 0.0125 ** (1 / 200)
    assert found.interval.low == pytest.approx(won[0] - none)
    assert found.interval.high == pytest.approx(won[1])


def test_a_tie_of_means_is_no_gain(tmp_path: Path, write_made_up_cell: Write) -> None:
    """Shares of three that are added up may exceed the whole by rounding, which is no verdict."""
    right = {"eda": [100], "paraphrase": [70], "caption": [40], "mat": [70]}
    cells = cells_of(tmp_path, write_made_up_cell, right)
    found = estimated(difference(["eda", "paraphrase", "caption"], ["mat"]), cells)
    assert found.per_seed == (0.0,)
    assert verdict(found, 0.0) == "inconclusive"


def trend(*defences: str) -> Trend:
    return Trend(measure=IN_GALLERY, along=Side(defences=defences, attack="sga"))


def test_a_trend_is_the_linear_contrast(tmp_path: Path, write_made_up_cell: Write) -> None:
    right = {"none": [20, 60], "little": [60, 60], "half": [50, 60], "all": [100, 20]}
    cells = cells_of(tmp_path, write_made_up_cell, right)
    found = estimated(trend("none", "little", "half", "all"), cells)
    # (3 * 100 + 50) / 4 less (3 * 20 + 60) / 4, and a fall, of 200.
    assert found.per_seed == pytest.approx((57.5 / 200, -30 / 200), abs=1e-15)
    assert found.value == pytest.approx(13.75 / 200, abs=1e-15)
    assert found.interval is not None
    assert found.interval.low < found.per_seed[1] < found.per_seed[0] < found.interval.high
    three = estimated(trend("none", "half", "all"), cells)
    two = estimated(difference(["all"], ["none"]), cells)
    assert three.per_seed == two.per_seed  # the middle of three has no weight
    assert trend("none", "all").describe() == (
        "trend of i2t recall at 1 (full_gallery, one_image) along none, all under sga"
    )


def test_a_trend_is_proportional_to_the_fitted_slope(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    right = {name: [value] for name, value in zip("abcde", (31, 90, 40, 77, 120), strict=True)}
    cells = cells_of(tmp_path, write_made_up_cell, right)
    recalls = np.array([31, 90, 40, 77, 120]) / 200
    slope = np.polyfit(np.arange(5), recalls, 1)[0]
    straight = estimated(trend(*"abcde"), cells).value
    assert straight == pytest.approx(slope * 10 / 3)  # sum of squares 40 over 2 and positive 6


def test_a_trend_of_equals_is_no_verdict(tmp_path: Path, write_made_up_cell: Write) -> None:
    cells = cells_of(tmp_path, write_made_up_cell, {name: [70, 70] for name in "abc"})
    found = estimated(trend(*"abc"), cells)
    assert found.value == 0
    assert verdict(found, 0.0) == "inconclusive"


def test_a_worst_case_is_read_in_its_direction_alone(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    cells = cells_of(tmp_path, write_made_up_cell, {"mat": [70], "tecoa": [50]})
    for (cell,) in cells.values():
        cell.record["attack_config"] = {"ensemble": ["pgd"], "direction": "i2t"}
    assert estimated(difference(["mat"], ["tecoa"]), cells).value == pytest.approx(0.1)
    other = replace(difference(["mat"], ["tecoa"]), measure=replace(IN_GALLERY, direction="t2i"))
    with pytest.raises(UserError, match=r"mat/seed0/sga is the worst case of i2t queries alone"):
        estimated(other, cells)


def test_labels_are_those_of_the_measure(tmp_path: Path, write_made_up_cell: Write) -> None:
    cells = cells_of(tmp_path, write_made_up_cell, {"mat": [70], "tecoa": [50]})
    for (cell,), right in zip(cells.values(), (90, 130), strict=True):
        chosen = (cell.outcomes["labels"] == "positives") & (cell.outcomes["direction"] == "i2t")
        rank = np.where(cell.outcomes.loc[chosen, "image"] < right, 1, 7)
        cell.outcomes.loc[chosen, "rank"] = rank.astype(np.int32)
    by_image = difference(["mat"], ["tecoa"])
    by_truth = replace(by_image, measure=replace(IN_GALLERY, labels="positives"))
    assert estimated(by_image, cells).value == pytest.approx(20 / 200)
    assert estimated(by_truth, cells).value == pytest.approx(-40 / 200)
