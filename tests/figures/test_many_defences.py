"""Studies of many defences: each told apart, nothing beside the page, and what is left out said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mmrobust.figures.attack_overview import plot_attack_overview
from mmrobust.figures.attack_success_rate import plot_attack_success_rate
from mmrobust.figures.few import MOST, few
from mmrobust.figures.notes import missing
from mmrobust.figures.recall_at_k import plot_recall_at_k
from mmrobust.figures.recall_by_defence import plot_recall_by_defence
from mmrobust.figures.robustness_curves import plot_robustness_curves
from mmrobust.figures.style import defence_colours, label
from mmrobust.figures.table import Grid, grid_of, read_metrics
from mmrobust.figures.training import plot_training_history

MANY = ("standard", *(f"mat_with_long_name_{letter}" for letter in "abcdefghijklmnop"))
MEASURED = ("standard", *MANY[-7:])
ONLY = {"square": MEASURED, "pgd_eps_1_255": MEASURED}
CAPPED: list[Callable[..., Figure]] = [
    plot_attack_overview,
    plot_robustness_curves,
    plot_recall_at_k,
    plot_attack_success_rate,
]
ALL = [plot_recall_by_defence, *CAPPED]


@pytest.fixture(scope="module")
def many(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("many") / "metrics.csv"
    rows = made_up.metric_rows(suite=True, seeds=(0, 1))
    metrics = read_metrics(made_up.write_metrics(path, rows))
    copies = [
        metrics[metrics["defence"] == ("standard" if at == 0 else "mat")].assign(defence=name)
        for at, name in enumerate(MANY)
    ]
    return pd.concat(copies, ignore_index=True)


@pytest.fixture(scope="module")
def grid(many: pd.DataFrame) -> Grid:
    return grid_of(many, only=ONLY)


@pytest.fixture(scope="module")
def figures(many: pd.DataFrame, grid: Grid) -> dict[Callable[..., Figure], Figure]:
    return {plot: plot(many, title="many", grid=grid) for plot in ALL}


def named(names: Sequence[str]) -> set[str]:
    return {label(name) for name in names}


def said(figure: Figure) -> str:
    found = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    return " ".join(" ".join(text.get_text() for text in found).split())


def marks(figure: Figure, panel: int) -> dict[str, tuple[float, float]]:
    """Means by `direction/defence/attack`, with the height at which they stand."""
    lines = [line for line in figure.axes[panel].lines if "/" in str(line.get_gid())]
    points = {str(line.get_gid()): np.asarray(line.get_xydata())[0] for line in lines}
    return {name: (float(point[0]), float(point[1])) for name, point in points.items()}


def test_those_that_most_attacks_are_run_on_are_drawn(many: pd.DataFrame, grid: Grid) -> None:
    part = few(many, grid)
    assert part.grid.defences == MEASURED
    assert set(part.metrics["defence"]) == set(MEASURED)
    assert part.grid.attacks == grid.attacks
    assert few(many, grid_of(many)).grid.defences == MANY[:MOST]


def test_an_attack_on_none_of_them_is_not_drawn(many: pd.DataFrame) -> None:
    only = {name: MANY[:MOST] for name in ("pgd", "sga")} | {"apgd": MANY[-1:]}
    grid = few(many, grid_of(many, only=only)).grid
    assert grid.defences == MANY[:MOST]
    assert "apgd" not in grid.attacks
    assert "sga" in grid.attacks


def test_a_study_of_few_defences_is_left_as_it_is(many: pd.DataFrame) -> None:
    grid = grid_of(many, defences=MANY[:MOST])
    part = few(many, grid)
    assert part.grid == grid
    assert part.metrics is many
    assert part.note == ""


@pytest.mark.parametrize("plot", CAPPED)
def test_every_figure_draws_the_same_and_says_so(
    figures: dict[Callable[..., Figure], Figure], plot: Callable[..., Figure]
) -> None:
    figure = figures[plot]
    [legend] = figure.legends
    told = {text.get_text() for text in legend.get_texts()}
    assert told & named(MANY) == named(MEASURED)
    assert "of 17 defences, the 8 that most attacks are run on" in said(figure)
    assert "the others stand in the tables" in said(figure)
    patches = zip(legend.legend_handles, legend.get_texts(), strict=True)
    by_name = {text.get_text(): of for of, text in patches if isinstance(of, Patch)}
    colours = [to_hex(by_name[label(name)].get_facecolor()) for name in MEASURED]
    assert colours == list(defence_colours(MEASURED).values())
    assert len(set(colours)) == MOST


def test_intervals_are_nearer_to_their_own_budget_than_to_the_next(
    figures: dict[Callable[..., Figure], Figure],
) -> None:
    for axes in figures[plot_robustness_curves].axes:
        places = axes.transData.transform([(tick, 0.0) for tick in axes.get_xticks()])[:, 0]
        moved = set()
        for dots in [line for line in axes.lines if line.get_marker() == "."]:
            data = np.asarray(dots.get_xydata(), dtype=float)
            shown = dots.get_transform().transform(data) - axes.transData.transform(data)
            moved |= {round(float(by), 3) for by in shown[:, 0]}
        assert len(moved) == MOST
        assert max(moved) - min(moved) <= 0.5 * np.diff(places).min() + 0.01


def test_no_colour_is_given_twice() -> None:
    names = [str(number) for number in range(40)]
    assert len(set(defence_colours(names).values())) == 40
    first = list(defence_colours(names[:10]).values())
    assert list(defence_colours(names).values())[:10] == first


@pytest.mark.parametrize("plot", ALL)
def test_legends_lie_between_note_and_panels(
    figures: dict[Callable[..., Figure], Figure], plot: Callable[..., Figure]
) -> None:
    figure = figures[plot]
    figure.canvas.draw()
    [legend] = figure.legends
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
    note = figure.texts[1].get_window_extent()
    tops = [axes.title.get_window_extent().y1 for axes in figure.axes]
    lefts = [axes._left_title.get_window_extent().y1 for axes in figure.axes]  # type: ignore[attr-defined]
    assert max(*tops, *lefts) <= box.y0 < box.y1 <= note.y0
    assert figure.texts[0].get_window_extent().y1 <= figure.bbox.y1


def test_legends_of_any_number_of_entries_wrap_in_reading_order(many: pd.DataFrame) -> None:
    names = [f"attack_of_a_long_name_{number}" for number in range(30)]
    clean = many[(many["attack"] == "clean") & (many["defence"].isin(MANY))]
    table = pd.concat([clean, *(clean.assign(attack=name) for name in names)])
    figure = plot_recall_by_defence(table)
    figure.canvas.draw()
    [legend] = figure.legends
    box = legend.get_window_extent()
    assert box.x1 <= figure.bbox.x1
    assert box.y1 <= figure.texts[1].get_window_extent().y0
    places = [(text.get_window_extent(), text.get_text()) for text in legend.get_texts()]
    lines = sorted(places, key=lambda place: (-round(place[0].y0 / 8), place[0].x0))
    assert [text for _, text in lines][:31] == ["clean", *(label(name) for name in names)]


@pytest.mark.parametrize(("panel", "direction"), [(0, "i2t"), (1, "t2i")])
def test_each_defence_is_a_row_with_the_means_of_the_table(
    many: pd.DataFrame,
    figures: dict[Callable[..., Figure], Figure],
    panel: int,
    direction: str,
) -> None:
    figure = figures[plot_recall_by_defence]
    assert len(figure.axes) == 2
    ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert ticks == [label(name) for name in MANY]
    bottom, top = figure.axes[panel].get_ylim()
    assert bottom > top
    chosen = (many["metric"] == "recall_at_k") & (many["k"] == 1)
    chosen &= (many["protocol"] == "full_gallery") & (many["labels"] == "one_image")
    rows = many[chosen & (many["direction"] == direction)]
    means = rows.groupby(["defence", "attack"])["value"].mean()
    drawn = marks(figure, panel)
    expected = {f"{direction}/{of}/{attack}": 100 * mean for (of, attack), mean in means.items()}
    assert {name: x for name, (x, _) in drawn.items()} == pytest.approx(expected)
    for name, (_, y) in drawn.items():
        assert round(y) == MANY.index(name.split("/")[1])


def test_the_other_labels_are_left_to_the_tables(
    many: pd.DataFrame, figures: dict[Callable[..., Figure], Figure]
) -> None:
    chosen = (many["metric"] == "recall_at_k") & (many["k"] == 1)
    rows = many[chosen & (many["protocol"] == "full_gallery")]
    cells = rows.pivot_table(
        index=["defence", "attack", "direction"], columns="labels", values="value"
    )
    points = 100 * (cells["one_image"] - cells["positives"]).abs().max()
    told = f"by the positives matrix, in the tables, means differ by at most {points:.1f} points"
    assert told in said(figures[plot_recall_by_defence])
    one = many[many["labels"] == "one_image"]
    same = pd.concat([one, one.assign(labels="positives")])
    assert "positives matrix" not in said(plot_recall_by_defence(same))


def test_rows_tell_missing_cells_and_seeds(many: pd.DataFrame, grid: Grid) -> None:
    of = many["defence"] == MANY[3]
    gone = of & many["attack"].isin(["pgd", "sga"])
    gone |= (many["defence"] == MANY[4]) & (many["attack"] == "dra") & (many["seed"] == 1)
    figure = plot_recall_by_defence(many[~gone], grid=grid)
    told = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(told) == ["*", "missing: PGD, SGA", "scored by one-image labels"]


def test_long_lists_of_missing_names_are_shortened() -> None:
    names = ["standard", "TeCoA", "FARE", "PMG-AFT", "LEAF", "MMCoA"]
    assert missing(names[:2], room=30) == "missing: standard, TeCoA"
    assert missing(names, room=36) == "missing: standard, TeCoA and 4 more"
    assert missing(names, room=36, apart="; ") == "missing: standard; TeCoA and 4 more"
    assert missing(names, room=20) == "missing: 6 of them"


@pytest.mark.parametrize("plot", [plot_attack_overview, plot_robustness_curves, plot_recall_at_k])
def test_boxes_of_missing_cells_stay_within_their_panel(
    many: pd.DataFrame, grid: Grid, plot: Callable[..., Figure]
) -> None:
    gone = many["defence"].isin(MEASURED[1:]) & (many["attack"] != "clean")
    options = {"attack": "sga"} if plot is plot_recall_at_k else {}
    figure = plot(many[~gone], grid=grid, **options)
    figure.canvas.draw()
    boxes = 0
    for axes in figure.axes:
        for text in axes.texts:
            if text.get_text().startswith("missing"):
                box, panel = text.get_window_extent(), axes.get_window_extent()
                assert panel.x0 <= box.x0 < box.x1 <= panel.x1
                boxes += 1
    assert boxes >= 2


def test_boxes_of_missing_cells_keep_off_the_marks_of_their_row(
    many: pd.DataFrame, grid: Grid
) -> None:
    gone = (many["defence"] == MANY[3]) & many["attack"].isin(["pgd", "sga", "dra", "apgd"])
    figure = plot_recall_by_defence(many[~gone], grid=grid)
    figure.canvas.draw()
    for panel, axes in enumerate(figure.axes):
        [box] = [text for text in axes.texts if text.get_text().startswith("missing")]
        extent = box.get_window_extent()
        row = [place for name, place in marks(figure, panel).items() if f"/{MANY[3]}/" in name]
        assert len(row) >= 2
        places = [axes.transData.transform(place)[0] for place in row]
        assert max(places) < extent.x0 or min(places) > extent.x1


def test_training_of_many_has_a_panel_a_defence() -> None:
    steps = np.arange(1, 101)
    history = pd.concat(
        pd.DataFrame({"defence": name, "seed": seed, "step": steps, "loss": at + 1 / steps})
        for at, name in enumerate(MANY)
        for seed in (0, 1)
    )
    grid = Grid(defences=MANY, attacks=("clean",), seeds=(0, 1))
    figure = plot_training_history(history, grid=grid)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title("left") for axes in panels] == [label(name) for name in MANY]
    for at, axes in enumerate(panels):
        assert len(axes.lines) == 2
        assert axes.lines[0].get_ydata()[-1] == pytest.approx(at + 0.01, abs=0.001)
    figure.canvas.draw()
    numbers = [
        tick.get_window_extent()
        for axes in panels[11:]
        for tick in axes.get_xticklabels()
        if axes.get_xlim()[0] <= tick.get_position()[0] <= axes.get_xlim()[1]
    ]
    assert len(numbers) >= 12
    for at, first in enumerate(numbers):
        assert not any(first.overlaps(second) for second in numbers[at + 1 :])
    titles = [axes._left_title.get_window_extent() for axes in panels]  # type: ignore[attr-defined]
    for first, second in pairwise(titles[:6]):
        assert first.x1 <= second.x0
