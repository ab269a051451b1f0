"""Many attacks, some on a part of the items, ensembles and curves: drawn apart, and legibly."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmrobust.artifacts import sha256_file
from mmrobust.figures.attack_overview import by_strength, plot_attack_overview
from mmrobust.figures.attack_success_rate import plot_attack_success_rate
from mmrobust.figures.facts import attack_facts
from mmrobust.figures.recall_at_k import plot_recall_at_k
from mmrobust.figures.recall_by_defence import plot_recall_by_defence
from mmrobust.figures.robustness_curves import curves, plot_robustness_curves
from mmrobust.figures.style import save_figure
from mmrobust.figures.table import grid_of, read_metrics

BAR_PLOTS: list[Callable[..., Figure]] = [plot_recall_by_defence, plot_attack_success_rate]
PLOTS = [*BAR_PLOTS, plot_recall_at_k, plot_attack_overview]


@pytest.fixture(scope="module")
def suite(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("suite") / "metrics.csv"
    return read_metrics(made_up.write_metrics(path, made_up.metric_rows(suite=True)))


@pytest.fixture(scope="module")
def overview(suite: pd.DataFrame) -> Figure:
    return plot_attack_overview(suite, title="scenes")


@pytest.fixture(scope="module")
def over_budgets(suite: pd.DataFrame) -> Figure:
    return plot_robustness_curves(suite, title="scenes")


@pytest.fixture(scope="module")
def bar_figures(suite: pd.DataFrame) -> dict[Callable[..., Figure], Figure]:
    return {plot: plot(suite) for plot in BAR_PLOTS}


def texts(figure: Figure) -> list[str]:
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [axes.get_title("left"), *(text.get_text() for text in axes.texts)]
    return [" ".join(text.split()) for text in found]


def own_pair(table: pd.DataFrame, direction: str) -> pd.DataFrame:
    chosen = (table["metric"] == "recall_at_k") & (table["k"] == 1)
    chosen &= (table["protocol"] == "own_pair") & (table["labels"] == "one_image")
    return table[chosen & (table["direction"] == direction)]


def drawn(figure: Figure) -> list[object]:
    """All text, bars, lines and intervals of a figure."""
    found: list[object] = [*texts(figure), *figure.get_size_inches()]
    for axes in figure.axes:
        found += [tick.get_text() for tick in (*axes.get_xticklabels(), *axes.get_yticklabels())]
        found += [bar.get_bbox().bounds for bar in axes.patches if isinstance(bar, Rectangle)]
        found += [np.asarray(line.get_xydata()).tolist() for line in axes.lines]
        for collection in axes.collections:
            if isinstance(collection, LineCollection):
                found += [segment.tolist() for segment in collection.get_segments()]
    return found


@pytest.mark.parametrize("plot", PLOTS)
def test_curve_points_show_in_no_other_figure(
    suite: pd.DataFrame, plot: Callable[..., Figure]
) -> None:
    without = plot(suite[suite["curve"] == ""])
    assert len(drawn(without)) > 50
    assert drawn(plot(suite)) == drawn(without)


@pytest.mark.parametrize("plot", BAR_PLOTS)
def test_attacks_without_a_whole_gallery_are_named_and_not_missing(
    bar_figures: dict[Callable[..., Figure], Figure], plot: Callable[..., Figure]
) -> None:
    said = " ".join(texts(bar_figures[plot]))
    assert "with their own pairs alone: square, adaptive, strongest" in said
    assert "missing" not in said
    ticks = {tick.get_text() for tick in bar_figures[plot].axes[0].get_xticklabels()}
    assert "DRA" in ticks
    assert not {"square", "adaptive", "strongest"} & ticks


@pytest.mark.parametrize("plot", BAR_PLOTS)
def test_bars_of_ten_attacks_stay_legible(
    bar_figures: dict[Callable[..., Figure], Figure], plot: Callable[..., Figure]
) -> None:
    figure = bar_figures[plot]
    figure.canvas.draw()
    assert figure.get_size_inches()[0] <= 16
    places = [axes.get_position() for axes in figure.axes]
    assert len({place.x0 for place in places}) == 1
    assert all(above.y0 > below.y1 for above, below in pairwise(places))
    for axes in figure.axes:
        labels = [*axes.get_xticklabels(), *(t for t in axes.texts if t.get_text()[0].isdigit())]
        boxes = [label.get_window_extent() for label in labels]
        overlapping = [(a, b) for a, b in pairwise(boxes) if a.y0 < b.y1 and b.y0 < a.y1]
        assert all(a.x1 <= b.x0 for a, b in overlapping)


@pytest.mark.parametrize(("panel", "direction"), [(0, "i2t"), (1, "t2i")])
def test_overview_draws_the_table(
    suite: pd.DataFrame, overview: Figure, panel: int, direction: str
) -> None:
    dots = {
        line.get_gid(): np.asarray(line.get_xdata())[0] / 100
        for line in overview.axes[panel].lines
        if line.get_gid()
    }
    rows = own_pair(suite[suite["curve"] == ""], direction)
    expected = {f"{direction}/{r.defence}/{r.attack}": r.value for r in rows.itertuples()}
    assert dots == pytest.approx(expected)


def test_overview_goes_from_weak_to_strong_with_ensembles_apart(
    suite: pd.DataFrame, overview: Figure
) -> None:
    heights: dict[str, list[float]] = {}
    for line in overview.axes[0].lines:
        if line.get_gid():
            attack = str(line.get_gid()).split("/")[2]
            heights.setdefault(attack, []).append(float(np.asarray(line.get_ydata())[0]))
    order = sorted(heights, key=lambda attack: np.mean(heights[attack]))
    means = suite[(suite["protocol"] == "own_pair") & (suite["metric"] == "recall_at_k")]
    means = means[(means["k"] == 1) & (means["labels"] == "one_image")]
    left = means.groupby("attack")["value"].mean()
    assert order[0] == "clean"
    assert order[-1] == "strongest"
    assert list(left[order[1:-1]]) == sorted(left[order[1:-1]], reverse=True)
    gaps = np.diff([np.mean(heights[attack]) for attack in order])
    np.testing.assert_allclose(gaps[:-1], 1.0)
    assert gaps[-1] > 1.5


def test_an_ensemble_stands_last_even_if_it_is_weak(suite: pd.DataFrame) -> None:
    weak = suite.copy()
    weak.loc[weak["attack"] == "strongest", ["value", "low", "high"]] = 0.99
    lines = plot_attack_overview(weak).axes[0].lines
    at = {str(line.get_gid()).split("/")[-1]: np.asarray(line.get_ydata())[0] for line in lines}
    assert at["strongest"] == max(at[name] for name in at if name != "None")


def test_overview_tells_knowledge_budgets_items_and_truth(overview: Figure) -> None:
    said = texts(overview)
    for words in (
        "transfer from standard · 2/255 · 2 words",
        "scores only · 2/255 · 200 images",
        "white box · 2/255",
        "white box · 2/255 · 2 words · 200 images",
        "BERT-Attack †",
        "Co-Attack †",
        "SGA",
        "34 %",
        "52 %",
        "worst case per query over several attacks",
    ):
        assert words in said
    assert any("n = 200-2,000 (i2t)" in words for words in said)
    assert any("† captions may become false" in words for words in said)
    assert "SGA †" not in said


def test_truth_is_a_range_over_models(suite: pd.DataFrame) -> None:
    changed = suite.copy()
    one = (changed["metric"] == "caption_truth") & (changed["defence"] == "mat")
    changed.loc[one & (changed["attack"] == "bert_attack"), "value"] = 0.61
    facts = attack_facts(changed)
    assert facts["bert_attack"].truth_words() == "34-61 %"
    assert facts["co_attack"].truth_words() == "40 %"
    assert facts["pgd"].truth is None
    kinds = ("ensemble", "partial", "joint", "may_lie")
    told = {name: [getattr(facts[name], kind) for kind in kinds] for name in facts}
    assert told["clean"] == [False, False, False, False]
    assert told["strongest"] == [True, True, True, False]
    assert told["bert_attack"] == [False, False, False, True]
    assert told["square"] == [False, True, False, False]


def test_a_transfer_is_told_as_one_though_it_is_a_white_box_on_its_source(
    suite: pd.DataFrame,
) -> None:
    first = suite["defence"].iloc[0]
    on_source = (suite["attack"] == "sga_transfer") & (suite["defence"] == first)
    changed = suite.assign(
        knowledge=suite["knowledge"].mask(on_source, "white_box"),
        source=suite["source"].mask(on_source, ""),
    )
    assert changed.loc[on_source, "knowledge"].eq("white_box").any()
    facts = attack_facts(changed)["sga_transfer"]
    assert (facts.knowledge, facts.source) == ("transfer", "standard")


def test_without_free_words_there_is_no_dagger(suite: pd.DataFrame) -> None:
    honest = suite[~suite["attack"].isin(["bert_attack", "bert_attack_released", "co_attack"])]
    said = " ".join(texts(plot_attack_overview(honest)))
    assert "†" not in said
    assert "still true" not in said


@pytest.mark.parametrize(("panel", "direction"), [(0, "i2t"), (1, "t2i")])
def test_curves_are_the_values_of_the_table(
    suite: pd.DataFrame, over_budgets: Figure, panel: int, direction: str
) -> None:
    rows = own_pair(suite, direction).set_index(["defence", "attack"])["value"]
    for row, (curve, over, points) in enumerate(
        [
            ("pixels", "eps", [f"pgd_eps_{eps}_255" for eps in (1, 2, 4, 8, 16)]),
            ("words", "words", [f"sga_words_{words}" for words in (0, 1, 2, 3)]),
        ]
    ):
        axes = over_budgets.axes[2 * row + panel]
        lines = {str(line.get_gid()): line for line in axes.lines if line.get_gid()}
        for defence in ("standard", "tecoa", "mat"):
            line = lines[f"{direction}/{defence}/{curve}"]
            drawn = dict(zip(line.get_xdata(), np.asarray(line.get_ydata()) / 100, strict=True))
            budgets = [1, 2, 4, 8, 16] if over == "eps" else [0, 1, 2, 3]
            # clean is of all images, these are of 200
            scale = 1 / 255 if over == "eps" else 1
            expected = {
                scale * budget: rows[defence, point]
                for budget, point in zip(budgets, points, strict=True)
            }
            assert list(drawn) == sorted(expected)
            np.testing.assert_allclose(
                [drawn[budget] for budget in sorted(expected)],
                [expected[budget] for budget in sorted(expected)],
            )
        share = [line for line in axes.lines if line.get_gid() == "chance"]
        assert np.asarray(share[0].get_ydata())[0] == pytest.approx(100 / 400)


def test_clean_is_joined_to_a_curve_over_all_images(suite: pd.DataFrame) -> None:
    """Images alone: no budget is no attack. SGA at 0 words still changes pixels."""
    figure = plot_robustness_curves(suite.assign(attacked_images=suite["images"]))
    starts = {
        str(line.get_gid()): np.asarray(line.get_xdata())[0]
        for axes in figure.axes
        for line in axes.lines
        if "/mat/" in str(line.get_gid())
    }
    assert starts == {"i2t/mat/pixels": 0, "t2i/mat/pixels": 0} | dict.fromkeys(
        ("i2t/mat/words", "t2i/mat/words"), 0
    )
    line = next(x for x in figure.axes[0].lines if x.get_gid() == "i2t/mat/pixels")
    clean = own_pair(suite, "i2t").query("attack == 'clean' and defence == 'mat'")["value"]
    assert np.asarray(line.get_ydata())[0] / 100 == pytest.approx(float(clean.iloc[0]))
    said = " ".join(texts(figure))
    assert "stands apart where the other modality is attacked at every point" in said
    assert "of all test images" not in said


def test_clean_is_an_open_marker_at_zero(suite: pd.DataFrame, over_budgets: Figure) -> None:
    clean = own_pair(suite, "i2t").query("attack == 'clean'")["value"]
    for axes in (over_budgets.axes[0], over_budgets.axes[2]):
        found = [
            (np.asarray(line.get_xdata())[0], np.asarray(line.get_ydata())[0] / 100)
            for line in axes.lines
            if line.get_marker() == "o" and line.get_markerfacecolor() == "white"
        ]
        assert [x for x, _ in found] == [0, 0, 0]
        np.testing.assert_allclose([y for _, y in found], clean)


def test_curves_say_what_they_vary_and_on_how_much(over_budgets: Figure) -> None:
    said = texts(over_budgets)
    assert "i2t: PGD by eps" in said
    assert "t2i: SGA by words" in said
    assert said.count("on 200 of 2,000 test images") == 2
    assert said.count("2/255 at every point · on 200 of 2,000 test images") == 2
    ticks = [tick.get_text() for tick in over_budgets.axes[0].get_xticklabels()]
    assert ticks == ["0", "1", "2", "4", "8", "16"]


def test_curves_over_eps_come_first(suite: pd.DataFrame) -> None:
    found = curves(suite.iloc[::-1])
    assert [(curve.attack, curve.over) for curve in found] == [("pgd", "eps"), ("sga", "words")]
    assert list(found[0].points) == [f"pgd_eps_{eps}_255" for eps in (1, 2, 4, 8, 16)]
    assert [curve.starts_clean for curve in found] == [False, False]
    found = curves(suite.assign(attacked_images=suite["images"]))
    assert [curve.starts_clean for curve in found] == [True, False]


def test_a_curve_is_drawn_for_the_defences_that_it_is_run_on(suite: pd.DataFrame) -> None:
    gone = (suite["defence"] == "mat") & (suite["curve"] == "pixels")
    points = suite["attack"][suite["curve"] == "pixels"].unique()
    grid = grid_of(suite, only={name: ["standard", "tecoa"] for name in points})
    figure = plot_robustness_curves(suite[~gone], grid=grid)
    lines = {str(line.get_gid()) for axes in figure.axes for line in axes.lines}
    assert "i2t/mat/pixels" not in lines
    assert {"i2t/tecoa/pixels", "i2t/mat/words"} <= lines
    assert not any("missing" in text for text in texts(figure))
    gone |= (suite["defence"] == "tecoa") & (suite["attack"] == "pgd_eps_4_255")
    assert texts(plot_robustness_curves(suite[~gone], grid=grid)).count("missing: TeCoA at 4") == 2


def test_attacks_are_ordered_by_the_defences_that_all_of_them_are_run_on(
    suite: pd.DataFrame,
) -> None:
    rows = own_pair(suite[suite["curve"] == ""], "i2t")
    assert by_strength(rows, grid_of(suite, attacks=["apgd", "dra"])) == ["apgd", "dra"]
    rows = rows[(rows["attack"] != "apgd") | (rows["defence"] == "standard")]
    grid = grid_of(suite, attacks=["apgd", "dra"], only={"apgd": ["standard"]})
    assert rows[rows["attack"] == "apgd"]["value"].mean() < (
        rows[rows["attack"] == "dra"]["value"].mean()
    )
    assert by_strength(rows, grid) == ["apgd", "dra"]


def test_a_missing_point_breaks_the_line_and_is_named(suite: pd.DataFrame) -> None:
    gone = (suite["defence"] == "mat") & (suite["attack"] == "pgd_eps_4_255")
    gone |= (suite["defence"] == "tecoa") & (suite["curve"] == "words")
    figure = plot_robustness_curves(suite[~gone])
    line = next(x for x in figure.axes[0].lines if x.get_gid() == "i2t/mat/pixels")
    assert np.isnan(line.get_ydata()).tolist() == [False, False, True, False, False]
    said = texts(figure)
    assert said.count("missing: MAT at 4") == 2
    assert said.count("missing: TeCoA") == 2


def test_a_study_without_curves_says_so(suite: pd.DataFrame) -> None:
    none = plot_robustness_curves(suite[suite["curve"] == ""])
    assert texts(none).count("this study has no robustness curves") == 2
    assert texts(plot_robustness_curves(suite.iloc[:0])).count("no results yet") == 2


@pytest.mark.parametrize("plot", [plot_attack_overview, plot_robustness_curves])
def test_several_seeds_are_a_mean_and_a_dot_each(
    made_up: ModuleType, tmp_path: Path, plot: Callable[..., Figure]
) -> None:
    rows = made_up.metric_rows(seeds=(0, 1, 2), suite=True)
    table = read_metrics(made_up.write_metrics(tmp_path / "m.csv", rows))
    cell = own_pair(table, "i2t").query("defence == 'mat' and attack == 'pgd_eps_2_255'")["value"]
    if plot is plot_attack_overview:
        cell = own_pair(table, "i2t").query("defence == 'mat' and attack == 'dra'")["value"]
    assert len(cell) == 3
    drawn = []
    for line in plot(table, grid=grid_of(table)).axes[0].lines:
        drawn += [np.asarray(line.get_xdata()), np.asarray(line.get_ydata())]
    three = [values / 100 for values in drawn if len(values) == 3]
    assert any(np.allclose(values, cell) for values in three)
    assert any(
        np.isclose(np.asarray(values, dtype=float) / 100, cell.mean()).any() for values in drawn
    )


@pytest.mark.parametrize("plot", [plot_attack_overview, plot_robustness_curves])
def test_the_same_figure_gives_the_same_bytes(
    suite: pd.DataFrame, tmp_path: Path, plot: Callable[..., Figure]
) -> None:
    first, second = (
        [sha256_file(path) for path in save_figure(plot(suite), tmp_path / name)]
        for name in ("first", "second")
    )
    assert first == second


def test_a_worst_case_of_one_direction_is_drawn_there_alone(suite: pd.DataFrame) -> None:
    strongest = suite["attack"] == "strongest"
    one = suite.assign(worst_case=suite["worst_case"].mask(strongest, "i2t"))
    figure = plot_attack_overview(one[~strongest | (one["direction"] == "i2t")])
    dots = {line.get_gid() for axes in figure.axes for line in axes.lines}
    assert "i2t/mat/strongest" in dots
    assert "t2i/mat/strongest" not in dots
    assert "t2i/mat/sga" in dots
    assert not any("missing" in text for text in texts(figure))
