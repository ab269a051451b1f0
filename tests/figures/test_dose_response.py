"""Recall over the settings of augmentations, and whose rows the other figures draw."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mmrobust.artifacts import sha256_file
from mmrobust.errors import UserError
from mmrobust.figures.attack_overview import plot_attack_overview
from mmrobust.figures.dose_response import plot_dose_response
from mmrobust.figures.style import save_figure
from mmrobust.figures.sweeps import own_rows, read_measures
from mmrobust.figures.table import grid_of, read_metrics
from mmrobust.sweep_table import Point

ATTACKS = ["clean", "pgd", "word_substitution", "sga"]
SCALE = {"mat_rate_0p5": 0.8, "mat_rate_0p9": 0.3, "mat_n_1": 0.9}
"""Defences that sweeps laid out, and what they keep of the recall of the base."""


def point(sweep: str, field: str, value: str, defence: str, n: int = 4) -> Point:
    rate = defence.removeprefix("mat").removesuffix("_n_1")
    return Point(
        **{"sweep": sweep, "field": field, "value": value, "defence": defence},
        **{"base": "mat", "swept": "caption", "without": "tecoa"},
        augmentation=f"caption{rate}",
        n=n,
    )


POINTS = [
    point("misalignment", "rate", "0", "mat"),
    point("misalignment", "rate", "0.5", "mat_rate_0p5"),
    point("misalignment", "rate", "0.9", "mat_rate_0p9"),
    point("number", "n", "1", "mat_n_1", n=1),
    point("number", "n", "4", "mat"),
]
MEASURES = {
    ("caption", 1, "true_share"): 0.99,
    ("caption", 4, "true_share"): 0.98,
    ("caption_rate_0p5", 4, "true_share"): 0.513,
    ("caption_rate_0p5", 1, "true_share"): 0.6,
    ("caption", 4, "embedding_spread"): 0.125,
}


@pytest.fixture(scope="module")
def metrics(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("sweeps") / "metrics.csv"
    table = read_metrics(made_up.write_metrics(path, made_up.metric_rows(seeds=(0, 1, 2))))
    return made_up.laid_out(table, SCALE)


@pytest.fixture(scope="module")
def figure(metrics: pd.DataFrame) -> Figure:
    return plot_dose_response(metrics, POINTS, MEASURES, title="scenes")


def means(metrics: pd.DataFrame) -> pd.Series[float]:
    chosen = (metrics["metric"] == "recall_at_k") & (metrics["k"] == 1)
    chosen &= (metrics["protocol"] == "full_gallery") & (metrics["labels"] == "one_image")
    rows = metrics[chosen & (metrics["direction"] == "i2t")]
    return 100 * rows.groupby(["defence", "attack"])["value"].mean()


def lines(figure: Figure, panel: int) -> dict[str, tuple[list[float], list[float]]]:
    return {
        str(line.get_gid()): (
            np.asarray(line.get_xdata(), dtype=float).tolist(),
            np.asarray(line.get_ydata(), dtype=float).tolist(),
        )
        for line in figure.axes[panel].lines
        if line.get_gid()
    }


def texts(figure: Figure) -> list[str]:
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [axes.get_title("left"), *(text.get_text() for text in axes.texts)]
    return [" ".join(text.split()) for text in found]


def under(figure: Figure, panel: int) -> list[list[str]]:
    """What stands under the axis, by line: its name and a text a value."""
    rows: dict[float, list[tuple[float, str]]] = {}
    for text in figure.axes[panel].texts:
        if text.xyann[1] < 0:  # type: ignore[attr-defined]
            x = text.xy[0] if text.get_ha() == "center" else -1.0  # type: ignore[attr-defined]
            rows.setdefault(-text.xyann[1], []).append((x, text.get_text()))  # type: ignore[attr-defined]
    return [[text for _, text in sorted(rows[depth])] for depth in sorted(rows)]


@pytest.mark.parametrize(
    ("panel", "sweep", "defences"),
    [
        (0, "misalignment", ["mat", "mat_rate_0p5", "mat_rate_0p9"]),
        (1, "number", ["mat_n_1", "mat"]),
    ],
)
def test_lines_are_the_means_of_the_table(
    metrics: pd.DataFrame, figure: Figure, panel: int, sweep: str, defences: list[str]
) -> None:
    expected, drawn = means(metrics), lines(figure, panel)
    assert figure.axes[panel].get_title("left") == sweep
    for attack in ATTACKS:
        xs, ys = drawn[f"{sweep}/{attack}"]
        assert np.rint(xs).tolist() == list(range(len(defences)))
        np.testing.assert_allclose(ys, [expected[name, attack] for name in defences])
        np.testing.assert_allclose(
            drawn[f"{sweep}/{attack}/without"][1], [expected["tecoa", attack]] * 2
        )
    assert drawn["chance"][1][0] == pytest.approx(100 / 400)
    starts = [drawn[f"{sweep}/{attack}"][0][0] for attack in ATTACKS]
    assert len(set(starts)) == len(ATTACKS), "beside each other"


def test_every_seed_is_a_dot_with_its_interval(metrics: pd.DataFrame, figure: Figure) -> None:
    chosen = metrics.query(
        "defence == 'mat_rate_0p5' and attack == 'sga' and direction == 'i2t' and k == 1 and "
        "protocol == 'full_gallery' and labels == 'one_image' and metric == 'recall_at_k'"
    )
    assert len(chosen) == 3
    panel = figure.axes[0]
    dots = [np.asarray(line.get_ydata()) for line in panel.lines if line.get_marker() == "."]
    assert any(len(ys) == 3 and np.allclose(ys, 100 * chosen["value"]) for ys in dots)
    ends = [
        np.array([segment[:, 1] for segment in of.get_segments()])  # type: ignore[attr-defined]
        for of in panel.collections
    ]
    assert any(np.allclose(found, 100 * chosen[["low", "high"]]) for found in ends)


def test_under_each_value_stands_what_was_measured_of_its_set(figure: Figure) -> None:
    assert under(figure, 0) == [
        ["rate", "0", "0.5", "0.9"],
        ["true", "98 %", "51 %", "-"],
        ["spread", "0.12", "-", "-"],
    ]
    assert under(figure, 1) == [
        ["number", "1", "4"],
        ["true", "99 %", "98 %"],
        ["spread", "-", "0.12"],
    ]


def test_it_says_what_is_drawn(figure: Figure) -> None:
    said = texts(figure)
    assert "MAT learns from caption" in said
    assert any("n = 2,000 (i2t)" in text and "training seeds 0, 1, 2" in text for text in said)
    assert any("95 % bootstrap percentile interval" in text for text in said)
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *("clean", "PGD", "word substitution", "SGA", "without augmentations", "chance")
    ]


def test_a_point_that_did_not_meet_an_attack_breaks_its_line_and_is_named(
    metrics: pd.DataFrame,
) -> None:
    gone = (metrics["defence"] == "mat_rate_0p5") & (metrics["attack"] == "pgd")
    figure = plot_dose_response(metrics[~gone], POINTS, MEASURES)
    kept = lines(figure, 0)["misalignment/pgd"][1]
    assert np.isnan(kept).tolist() == [False, True, False]
    assert not np.isnan(lines(figure, 0)["misalignment/sga"][1]).any()
    assert "missing: PGD at 0.5" in texts(figure)
    assert not any("missing" in text for text in texts(plot_dose_response(metrics, POINTS, {})))


def test_attacks_that_no_point_of_the_sweep_met_are_left_out(metrics: pd.DataFrame) -> None:
    laid_out = metrics["defence"].isin(SCALE) & (metrics["attack"] == "pgd")
    figure = plot_dose_response(metrics[~laid_out], POINTS, MEASURES)
    assert "misalignment/pgd" not in lines(figure, 0)
    assert "misalignment/sga" in lines(figure, 0)
    assert not any("missing" in text for text in texts(figure))
    elsewhere = (metrics["attack"] == "pgd") & (metrics["protocol"] == "full_gallery")
    figure = plot_dose_response(metrics[~elsewhere], POINTS, MEASURES)
    assert {"misalignment/pgd", "number/pgd"}.isdisjoint({*lines(figure, 0), *lines(figure, 1)})


def test_without_a_reference_there_is_no_dashed_line(metrics: pd.DataFrame) -> None:
    figure = plot_dose_response(metrics[metrics["defence"] != "tecoa"], POINTS, {})
    assert not any(name.endswith("/without") for name in lines(figure, 0))
    assert "without augmentations" not in [text.get_text() for text in figure.legends[0].texts]
    assert under(figure, 0) == [["rate", "0", "0.5", "0.9"]]


def test_a_study_without_sweeps_or_results_says_so(metrics: pd.DataFrame) -> None:
    assert "this study has no sweeps" in texts(plot_dose_response(metrics, [], {}))
    assert "this study has no sweeps" in texts(plot_dose_response(metrics.iloc[:0], [], {}))
    none = texts(plot_dose_response(metrics.iloc[:0], POINTS, MEASURES))
    assert none.count("no results yet") == 2, "a panel a sweep"


def test_an_odd_number_of_sweeps_leaves_no_empty_panel(metrics: pd.DataFrame) -> None:
    figure = plot_dose_response(metrics, POINTS[:3], MEASURES)
    assert [panel.get_visible() for panel in figure.axes] == [True, False]


def test_other_figures_draw_what_the_study_writes(metrics: pd.DataFrame) -> None:
    own = own_rows(metrics, POINTS)
    assert grid_of(own).defences == ("standard", "tecoa", "mat")
    assert own.equals(metrics[~metrics["defence"].isin(list(SCALE))])
    drawn = {str(line.get_gid()) for axes in plot_attack_overview(own).axes for line in axes.lines}
    assert "i2t/mat/sga" in drawn
    assert not any(name in gid for gid in drawn for name in SCALE)
    assert own_rows(metrics, []).equals(metrics)
    # a base that has none of the values is no point, and the study's own all the same
    assert "mat" in set(own_rows(metrics, POINTS[1:3])["defence"])


def test_measures_are_read_by_set_number_and_name(tmp_path: Path) -> None:
    path = tmp_path / "augmentations.csv"
    path.write_text("augmentation,n,measure,value\nnone,1,spread,\nnone,2,spread,0.25\n")
    assert read_measures(path) == {("none", 2, "spread"): 0.25}
    assert read_measures(tmp_path / "absent.csv") == {}
    for text in ("augmentation,n,value\na,1,2\n", "augmentation,n,measure,value\na,1,b,much\n", ""):
        path.write_text(text)
        with pytest.raises(UserError, match=r"augmentations\.csv: not a table of measured"):
            read_measures(path)


def test_the_same_figure_gives_the_same_bytes(metrics: pd.DataFrame, tmp_path: Path) -> None:
    first, second = (
        [
            sha256_file(path)
            for path in save_figure(plot_dose_response(metrics, POINTS, MEASURES), tmp_path / name)
        ]
        for name in ("first", "second")
    )
    assert first == second
