"""Figures draw the table's numbers, the same bytes every time, and show what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from mmrobust.artifacts import sha256_file
from mmrobust.figures.attack_overview import plot_attack_overview
from mmrobust.figures.attack_success_rate import plot_attack_success_rate
from mmrobust.figures.notes import titled
from mmrobust.figures.recall_at_k import plot_recall_at_k
from mmrobust.figures.recall_by_defence import plot_recall_by_defence
from mmrobust.figures.style import defence_colours, label, save_figure
from mmrobust.figures.table import Grid, grid_of, read_metrics
from mmrobust.figures.training import plot_training_history

PLOTS: list[Callable[..., Figure]] = [
    plot_recall_by_defence,
    plot_recall_at_k,
    plot_attack_success_rate,
    plot_attack_overview,
]


@pytest.fixture(scope="module")
def metrics(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("one") / "metrics.csv"
    return read_metrics(made_up.write_metrics(path, made_up.metric_rows()))


@pytest.fixture(scope="module")
def three_seeds(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("three") / "metrics.csv"
    return read_metrics(made_up.write_metrics(path, made_up.metric_rows(seeds=(0, 1, 2))))


@pytest.fixture(scope="module")
def by_defence(metrics: pd.DataFrame) -> Figure:
    return plot_recall_by_defence(metrics, title="scenes")


@pytest.fixture(scope="module")
def at_k(metrics: pd.DataFrame) -> Figure:
    return plot_recall_at_k(metrics, title="scenes")


def bars(axes: Axes) -> dict[str, float]:
    """Heights by `direction/defence/attack`, as shares."""
    return {str(bar.get_gid()): bar.get_height() / 100 for bar in axes.patches}


def values(table: pd.DataFrame, **chosen: object) -> pd.DataFrame:
    for name, value in chosen.items():
        table = table[table[name] == value]
    return table


def texts(figure: Figure) -> str:
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [axes.get_title("left"), *(text.get_text() for text in axes.texts)]
    return " ".join(" ".join(found).split())


@pytest.mark.parametrize(("row", "labels"), [(0, "one_image"), (1, "positives")])
@pytest.mark.parametrize("direction", ["i2t", "t2i"])
def test_bars_are_the_values_of_the_table(
    metrics: pd.DataFrame, by_defence: Figure, row: int, labels: str, direction: str
) -> None:
    axes = by_defence.axes[2 * row + (direction == "t2i")]
    rows = values(metrics, metric="recall_at_k", k=1, protocol="full_gallery", labels=labels).query(
        "direction == @direction"
    )
    expected = {f"{direction}/{r.defence}/{r.attack}": r.value for r in rows.itertuples()}
    assert bars(axes) == pytest.approx(expected)
    whiskers = [line for line in axes.collections if isinstance(line, LineCollection)]
    drawn = sorted(tuple(segment[:, 1] / 100) for w in whiskers for segment in w.get_segments())
    limits = sorted(zip(rows["low"], rows["high"], strict=True))
    np.testing.assert_allclose(drawn, limits)


def test_both_attack_success_rates_are_drawn_from_the_table_without_clean(
    metrics: pd.DataFrame,
) -> None:
    figure = plot_attack_success_rate(metrics)
    for place, metric in ((1, "attack_success_rate"), (3, "recall_drop")):
        rows = values(
            metrics, metric=metric, protocol="full_gallery", labels="one_image", direction="t2i"
        )
        expected = {f"t2i/{r.defence}/{r.attack}": r.value for r in rows.itertuples()}
        assert bars(figure.axes[place]) == pytest.approx(expected)
        assert not any(name.endswith("/clean") for name in bars(figure.axes[place]))
    first, second = (" ".join(t.get_text() for t in figure.axes[at].texts) for at in (0, 2))
    assert "conditional (SGA): share lost of queries right on clean inputs" in first
    assert "difference (Co-Attack): clean recall minus recall under attack" in second


def test_a_recall_drop_below_zero_is_drawn_below_zero(metrics: pd.DataFrame) -> None:
    helped = (metrics["metric"] == "recall_drop") & (metrics["attack"] == "pgd")
    changed = metrics.copy()
    changed.loc[helped, ["value", "low", "high"]] = [-0.02, -0.05, 0.01]
    figure = plot_attack_success_rate(changed)
    assert bars(figure.axes[2])["i2t/mat/pgd"] == pytest.approx(-0.02)
    assert figure.axes[2].get_ylim()[0] < -5
    assert plot_attack_success_rate(metrics).axes[2].get_ylim()[0] == 0


def test_lines_over_k_are_the_values_of_the_strongest_attack(
    metrics: pd.DataFrame, at_k: Figure
) -> None:
    assert "scenes: recall at k under SGA" in texts(at_k)
    lines = {str(line.get_gid()): line.get_ydata() for line in at_k.axes[0].lines}
    for attack in ("sga", "clean"):
        for defence in ("standard", "tecoa", "mat"):
            rows = values(
                metrics,
                metric="recall_at_k",
                protocol="full_gallery",
                labels="one_image",
                direction="i2t",
                defence=defence,
                attack=attack,
            ).sort_values("k")
            drawn = np.asarray(lines[f"i2t/{defence}/{attack}"]) / 100
            np.testing.assert_allclose(drawn, rows["value"])


def test_several_seeds_are_a_mean_and_a_dot_each(three_seeds: pd.DataFrame) -> None:
    axes = plot_recall_by_defence(three_seeds).axes[0]
    rows = values(
        three_seeds,
        metric="recall_at_k",
        k=1,
        protocol="full_gallery",
        labels="one_image",
        direction="i2t",
        defence="mat",
        attack="sga",
    )
    assert len(rows) == 3
    assert bars(axes)["i2t/mat/sga"] == pytest.approx(rows["value"].mean())
    dots = [line.get_ydata() for line in axes.lines if line.get_gid() != "chance"]
    assert any(np.allclose(np.asarray(ys) / 100, rows["value"]) for ys in dots if len(ys) == 3)


def test_a_seed_too_few_is_starred(three_seeds: pd.DataFrame) -> None:
    gone = (three_seeds["defence"] == "mat") & (three_seeds["seed"] == 2)
    figure = plot_recall_by_defence(three_seeds[~gone])
    starred = [t.get_text() for t in figure.axes[0].texts if t.get_text().endswith("*")]
    assert len(starred) == 4
    assert "training seeds 0, 1, 2 (* not all of them)" in texts(figure)


@pytest.mark.parametrize("plot", PLOTS)
def test_missing_cells_are_named(metrics: pd.DataFrame, plot: Callable[..., Figure]) -> None:
    gone = (metrics["defence"] == "mat") & (metrics["attack"] == "sga")
    assert "missing" not in texts(plot(metrics))
    assert "missing" in texts(plot(metrics[~gone]))


@pytest.mark.parametrize("plot", PLOTS)
def test_what_a_study_does_not_mean_to_run_is_not_missing(
    metrics: pd.DataFrame, plot: Callable[..., Figure]
) -> None:
    named = {"attack": "sga"} if plot is plot_recall_at_k else {}
    gone = (metrics["defence"] == "mat") & (metrics["attack"] == "sga")
    grid = grid_of(metrics, only={"sga": ["standard", "tecoa"]})
    said = texts(plot(metrics[~gone], grid=grid, **named))
    assert "missing" not in said
    assert "not every attack is run on every defence" in said
    assert "not every attack" not in texts(plot(metrics))
    gone |= (metrics["defence"] == "tecoa") & (metrics["attack"] == "sga")
    assert "missing" in texts(plot(metrics[~gone], grid=grid, **named))


def test_no_bar_stands_in_the_place_of_what_is_not_run(
    metrics: pd.DataFrame, by_defence: Figure
) -> None:
    gone = (metrics["defence"] == "mat") & (metrics["attack"] == "sga")
    grid = grid_of(metrics, only={"sga": ["standard", "tecoa"]})
    figure = plot_recall_by_defence(metrics[~gone], grid=grid)
    whole, part = bars(by_defence.axes[0]), bars(figure.axes[0])
    assert set(whole) - set(part) == {"i2t/mat/sga"}
    assert all(whole[name] == height for name, height in part.items())
    hatched = [of for axes in figure.axes for of in axes.collections if of.get_hatch()]
    assert hatched == []


@pytest.mark.parametrize("plot", PLOTS)
def test_an_empty_table_still_draws(metrics: pd.DataFrame, plot: Callable[..., Figure]) -> None:
    nothing = metrics.iloc[:0]
    assert "no results yet" in texts(plot(nothing))
    grid = Grid(defences=("standard", "mat"), attacks=("clean", "sga"), seeds=(0,))
    word = "no results yet" if plot is plot_recall_at_k else "missing"
    assert word in texts(plot(nothing, grid=grid))


def test_a_rate_of_nothing_is_undefined_and_not_zero(metrics: pd.DataFrame) -> None:
    none_right = (metrics["metric"] == "attack_success_rate") & (metrics["attack"] == "pgd")
    changed = metrics.copy()
    changed.loc[none_right, ["value", "low", "high"]] = np.nan
    changed.loc[none_right, "interval"] = "none"
    figure = plot_attack_success_rate(changed)
    assert "undefined" in texts(figure)
    assert "i2t/mat/pgd" not in bars(figure.axes[0])


def test_titles_say_n_gallery_seeds_and_dataset(by_defence: Figure, at_k: Figure) -> None:
    for figure in (by_defence, at_k):
        said = texts(figure)
        for part in ("dataset scenes", "n = 2,000 (i2t), 10,000 (t2i)", "training seed 0"):
            assert part in said
        assert "galleries of 400 images and 2,000 captions" in said
        assert "95 % bootstrap percentile interval" in said


@pytest.mark.parametrize("plot", PLOTS)
def test_small_copies_of_photographs_are_titled_so(
    made_up: ModuleType, tmp_path: Path, plot: Callable[..., Figure]
) -> None:
    rows = made_up.metric_rows(dataset="flickr8k", source_resolution="128x128", scale=0.06)
    said = texts(plot(read_metrics(made_up.write_metrics(tmp_path / "m.csv", rows)), title="study"))
    assert "study (photographs at 128x128 pixels): " in said
    assert "squashed to 128 x 128 pixels" in said
    assert "not comparable with published flickr8k numbers" in said


def test_only_resampled_photographs_are_titled() -> None:
    assert titled("study", "recall", "64x64") == "study (photographs at 64x64 pixels): recall"
    assert titled("study", "recall", "varying") == titled("study", "recall", "") == "study: recall"
    assert titled("", "recall", "") == "Recall"


@pytest.mark.parametrize("size", [100, 2000])
def test_the_main_gallery_is_drawn_unless_one_is_asked_for(
    metrics: pd.DataFrame, by_defence: Figure, size: int
) -> None:
    other = metrics.assign(gallery_images=float(size), value=0.5)
    both = pd.concat([metrics, other], ignore_index=True)
    assert bars(plot_recall_by_defence(both).axes[0]) == bars(by_defence.axes[0])
    chosen = plot_recall_by_defence(both, gallery_images=size)
    assert set(bars(chosen.axes[0]).values()) == {0.5}


@pytest.mark.parametrize("plot", PLOTS)
def test_a_further_gallery_size_changes_no_figure(
    metrics: pd.DataFrame, tmp_path: Path, plot: Callable[..., Figure]
) -> None:
    other = metrics.assign(gallery_images=2000.0, value=0.5)
    both = pd.concat([metrics, other], ignore_index=True)
    drawn = [
        save_figure(plot(table), tmp_path / name)
        for name, table in (("one", metrics), ("two", both))
    ]
    assert [sha256_file(path) for path in drawn[0]] == [sha256_file(path) for path in drawn[1]]


def test_labels_that_agree_are_drawn_once(metrics: pd.DataFrame, by_defence: Figure) -> None:
    one = metrics[metrics["labels"] == "one_image"]
    same = pd.concat([one, one.assign(labels="positives")], ignore_index=True)
    assert len(plot_recall_by_defence(same).axes) == 2
    assert len(by_defence.axes) == 4


@pytest.mark.parametrize("plot", PLOTS)
def test_the_same_figure_gives_the_same_bytes(
    metrics: pd.DataFrame, tmp_path: Path, plot: Callable[..., Figure]
) -> None:
    hashes = []
    for run in ("first", "second"):
        # neither the caller's settings nor an earlier figure may show
        with matplotlib.rc_context({"font.size": 20 if run == "second" else 10}):
            paths = save_figure(plot(metrics, title="scenes"), tmp_path / run / "a.b")
        assert [path.name for path in paths] == ["a.b.png", "a.b.svg"]
        hashes.append([sha256_file(path) for path in paths])
    assert hashes[0] == hashes[1]
    assert matplotlib.__version__.encode() not in paths[1].read_bytes()


def test_a_long_title_is_wrapped_above_its_note(metrics: pd.DataFrame) -> None:
    figure = plot_attack_success_rate(metrics, title="words that say a lot of a study " * 3)
    title, note = figure.texts[:2]
    assert title.get_text().count("\n") >= 1
    drawn = [text.get_window_extent(figure.canvas.get_renderer()) for text in (title, note)]
    assert drawn[0].y0 > drawn[1].y1
    assert drawn[0].x1 < figure.bbox.x1


def test_colours_follow_the_order_of_the_study() -> None:
    colours = defence_colours(["standard", "tecoa", "mat"])
    assert len(set(colours.values())) == 3
    more = defence_colours(["standard", "tecoa", "mat", "fare"])
    assert all(more[name] == colour for name, colour in colours.items())
    others = defence_colours(["one", "standard", "two", "mat", "three"])
    assert others["mat"] == colours["mat"]
    assert others["standard"] == colours["standard"]
    assert len(set(others.values())) == 5
    assert list(others) == ["one", "standard", "two", "mat", "three"]
    assert len(set(defence_colours([f"d{at}" for at in range(20)]).values())) == 20


def test_a_defence_has_one_colour_in_every_figure(by_defence: Figure, at_k: Figure) -> None:
    colour = defence_colours(["standard", "tecoa", "mat"])["mat"]
    drawn = [bar for bar in by_defence.axes[0].patches if bar.get_gid() == "i2t/mat/sga"]
    drawn_lines = [line for line in at_k.axes[0].lines if line.get_gid() == "i2t/mat/sga"]
    assert to_hex(drawn[0].get_facecolor()) == to_hex(drawn_lines[0].get_color()) == colour


def test_labels_are_spelt_as_in_papers() -> None:
    spelt = {
        "mat_plus": "MAT+",
        "word_substitution": "word substitution",
        "tecoa": "TeCoA",
        "new_one": "new one",
        "co_attack": "Co-Attack",
        "bert_attack_released": "BERT-Attack released",
        "mi_fgsm": "MI-FGSM",
        "fgsm": "FGSM",
        "mattress": "mattress",
        "pgd_eps_4_255": "PGD, eps 4/255",
        "sga_4_255": "SGA 4/255",
        "sga_0p5_255": "SGA 0.5/255",
        "pgd_eps_0p5_255": "PGD, eps 0.5/255",
        "sga_words_1": "SGA, 1 word",
        "sga_words_3": "SGA, 3 words",
        "all_words": "all words",
    }
    assert {name: label(name) for name in spelt} == spelt


def test_training_history_has_a_line_for_every_model() -> None:
    steps = np.arange(100)
    runs = [
        pd.DataFrame({"defence": name, "seed": seed, "step": steps, "loss": 3.0 - steps / 100})
        for name in ("standard", "mat")
        for seed in (0, 1)
    ]
    grid = Grid(defences=("standard", "mat"), attacks=(), seeds=(0, 1))
    figure = plot_training_history(pd.concat(runs), grid=grid, source_resolution="128x128")
    assert "Photographs at 128x128 pixels: training loss" in texts(figure)
    colours = [line.get_color() for line in figure.axes[0].lines]
    expected = defence_colours(grid.defences)
    assert sorted(colours) == sorted([expected["standard"], expected["mat"]] * 2)
