"""Curves over eps and words by the settings of augmentations."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mmrobust.artifacts import sha256_file
from mmrobust.figures.dose_curves import NOTHING, plot_dose_curves
from mmrobust.figures.style import save_figure
from mmrobust.figures.table import of_curve, read_metrics
from mmrobust.sweep_table import Point

SCALE = {"mat_rate_0p5": 0.8, "mat_rate_0p9": 0.3}
"""Defences that a sweep laid out, and what they keep of the recall of the base."""


def point(value: str, defence: str) -> Point:
    return Point(
        **{"sweep": "misalignment", "field": "rate", "value": value, "defence": defence},
        **{"base": "mat", "swept": "caption", "without": "tecoa", "augmentation": "caption"},
        n=4,
    )


POINTS = [point("0", "mat"), point("0.5", "mat_rate_0p5"), point("0.9", "mat_rate_0p9")]


@pytest.fixture(scope="module")
def metrics(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("curves") / "metrics.csv"
    rows = made_up.metric_rows(seeds=(0, 1, 2), suite=True)
    table = read_metrics(made_up.write_metrics(path, rows))
    return made_up.laid_out(table, SCALE)


@pytest.fixture(scope="module")
def figure(metrics: pd.DataFrame) -> Figure:
    return plot_dose_curves(metrics, POINTS, title="scenes")


def lines(figure: Figure, panel: int) -> dict[str, list[float]]:
    return {
        str(line.get_gid()): np.asarray(line.get_ydata(), dtype=float).tolist()
        for line in figure.axes[panel].lines
        if line.get_gid()
    }


def means(metrics: pd.DataFrame, defence: str, curve: str) -> list[float]:
    """Of the seeds, in the order of the budget."""
    rows = of_curve(metrics, curve).query(
        "metric == 'recall_at_k' and k == 1 and protocol == 'own_pair' and labels == 'one_image' "
        "and direction == 'i2t' and defence == @defence"
    )
    budget = "image_eps" if curve == "pixels" else "text_words"
    return (100 * rows.groupby(budget)["value"].mean()).sort_index().tolist()


@pytest.mark.parametrize(("panel", "curve"), [(0, "pixels"), (1, "words")])
def test_a_line_a_value_is_the_mean_of_the_table(
    metrics: pd.DataFrame, figure: Figure, panel: int, curve: str
) -> None:
    drawn = lines(figure, panel)
    assert drawn.pop("chance")[0] == pytest.approx(100 / 400)
    defences = {point.value: point.defence for point in POINTS} | {"without": "tecoa"}
    assert set(drawn) == {f"misalignment/{curve}/{value}" for value in defences}
    for value, defence in defences.items():
        expected = means(metrics, defence, curve)
        assert len(expected) >= 4
        np.testing.assert_allclose(drawn[f"misalignment/{curve}/{value}"], expected)


def test_lines_and_means_stand_at_their_budgets(figure: Figure) -> None:
    """Steep lines drawn beside each other would rank them by where they stand."""
    for axes in figure.axes:
        drawn = [line for line in axes.lines if line.get_gid() or line.get_marker() == "o"]
        assert len(drawn) > 20
        for line in drawn:
            data = np.asarray(line.get_xydata(), dtype=float)
            known = np.isfinite(data).all(axis=1)
            seen = line.get_transform().transform(data[known])[:, 0]
            there = axes.transData.transform(data[known])[:, 0]
            if line.get_gid() != "chance":
                np.testing.assert_allclose(seen, there)


def test_seeds_stand_beside_each_other(figure: Figure) -> None:
    for axes in figure.axes:
        moved = []
        for dots in [line for line in axes.lines if line.get_marker() == "."]:
            data = np.asarray(dots.get_xydata(), dtype=float)
            seen, there = (
                of.transform(data)[:, 0] for of in (dots.get_transform(), axes.transData)
            )
            moved += list(seen - there)
        assert len({round(by, 3) for by in moved}) == 4


def test_it_says_what_is_drawn(figure: Figure) -> None:
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["misalignment: PGD by eps", "misalignment: SGA by words"]
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        assert legend.get_title().get_text() == "rate"
        assert [text.get_text() for text in legend.get_texts()] == ["0", "0.5", "0.9"]
    said = " ".join(" ".join(text.get_text().split()) for text in figure.texts)
    assert "n = 200 (i2t)" in said
    assert "only the query's own image and captions attacked" in said
    assert "clean is of all test images" in said


def test_without_a_reference_there_is_no_dashed_line(metrics: pd.DataFrame, figure: Figure) -> None:
    name = "without augmentations"
    assert name in [text.get_text() for text in figure.legends[0].texts]
    bare = plot_dose_curves(metrics[metrics["defence"] != "tecoa"], POINTS)
    assert name not in [text.get_text() for text in bare.legends[0].texts]
    assert set(lines(bare, 0)) == {
        "chance",
        *(f"misalignment/pixels/{v}" for v in ("0", "0.5", "0.9")),
    }


def test_a_curve_of_other_defences_is_none_of_the_sweep(metrics: pd.DataFrame) -> None:
    laid_out = metrics["defence"].isin(SCALE)
    figure = plot_dose_curves(metrics[~(laid_out & (metrics["curve"] == "words"))], POINTS)
    titles = [axes.get_title("left") for axes in figure.axes if axes.get_visible()]
    assert titles == ["misalignment: PGD by eps"]


def test_a_point_that_is_missing_breaks_its_line(metrics: pd.DataFrame) -> None:
    gone = (metrics["defence"] == "mat_rate_0p5") & (metrics["attack"] == "pgd_eps_4_255")
    drawn = lines(plot_dose_curves(metrics[~gone], POINTS), 0)
    expected = means(metrics, "mat_rate_0p5", "pixels")
    expected[2] = np.nan
    np.testing.assert_allclose(drawn["misalignment/pixels/0.5"], expected)


@pytest.mark.parametrize("points", [POINTS, []])
def test_a_study_without_curves_or_sweeps_says_so(
    metrics: pd.DataFrame, points: list[Point]
) -> None:
    figure = plot_dose_curves(metrics[metrics["curve"] == ""] if points else metrics, points)
    [axes] = figure.axes
    assert NOTHING in [text.get_text() for text in axes.texts]


def test_the_same_figure_gives_the_same_bytes(metrics: pd.DataFrame, tmp_path: Path) -> None:
    made = [
        [
            sha256_file(path)
            for path in save_figure(plot_dose_curves(metrics, POINTS), tmp_path / name)
        ]
        for name in ("one", "two")
    ]
    assert made[0] == made[1]
