"""Recall under attack by how far the attacker may go: over eps and over the number of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from mmrobust.figures.bars import (
    chance_handle,
    defence_legend,
    draw_chance,
    finish_panels,
    say_missing,
    say_nothing,
)
from mmrobust.figures.facts import AttackFacts, attack_facts
from mmrobust.figures.few import Few, few
from mmrobust.figures.notes import (
    DOT,
    describe,
    of_255,
    protocol_note,
    resolution,
    titled,
)
from mmrobust.figures.style import (
    MUTED,
    defence_colours,
    house_style,
    label,
    new_figure,
    panel_title,
)
from mmrobust.figures.table import (
    DIRECTIONS,
    Cells,
    Grid,
    by_cell,
    curves_of,
    grid_of,
    of_curve,
    select,
)

Numbers = NDArray[np.float64]

SQUARE_ROOT_FROM = 6
"""Ratio of the largest eps to the smallest above which a plain axis crowds the small ones."""
APART = 3.5
"""Points between the intervals of two defences at one budget, where there is room."""
FAN = 0.5
"""Share of the smallest gap between budgets that the intervals at one of them may take."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points of one attack with a growing budget.

    Fields:
        name: as the study names it.
        attack: what is run at every point.
        over: `eps` or `words`.
        points: budget by name of the point's cell, ascending.
        facts: of one of its points.
    """

    name: str
    attack: str
    over: str
    points: dict[str, float]
    facts: AttackFacts

    @property
    def starts_clean(self) -> bool:
        """Whether the clean cell is the point at 0.

        It is if a budget of 0 leaves everything untouched and all of its images are attacked.
        """
        alike = not self.facts.joint and not self.facts.partial
        return alike and 0 not in self.points.values()

    def tick(self, value: float) -> str:
        """A budget as the axis counts it."""
        if self.over == "words" or self.facts.norm != "linf":
            return f"{value:g}"
        return of_255(value).removesuffix("/255")

    def axis(self) -> str:
        """What the axis counts."""
        if self.over == "words":
            return "words that may be replaced"
        return "eps in 1/255 (l-inf)" if self.facts.norm == "linf" else "eps (l2)"

    def under(self) -> str:
        """What else holds at every point: the other modality's budget, and on how much."""
        other = self.facts.text_words() if self.over == "eps" else self.facts.image_words()
        facts = self.facts
        size = f"{facts.attacked_images:,} of {facts.images:,}" if facts.partial else "all"
        parts = [KNOWN[facts.knowledge], f"{other} at every point" if other else ""]
        return DOT.join(part for part in [*parts, f"on {size} test images"] if part)


KNOWN = {"white_box": "", "transfer": "transferred", "query": "by scores only"}


def curves(metrics: pd.DataFrame) -> list[Curve]:
    """The curves of a study, those over eps first."""
    facts = attack_facts(metrics)
    found = []
    for name in curves_of(metrics):
        cells = [str(cell) for cell in of_curve(metrics, name)["attack"].unique()]
        eps = {cell: facts[cell].eps for cell in cells}
        words = {cell: facts[cell].words for cell in cells}
        # a single point is told by its name alone
        by_eps = len(set(eps.values())) > 1 or (len(cells) == 1 and "_eps_" in cells[0])
        over, budgets = ("eps", eps) if by_eps else ("words", words)
        points = {cell: float(budget or 0) for cell, budget in budgets.items()}
        attack = cells[0].rpartition(f"_{over}_")[0] or cells[0]
        ascending = dict(sorted(points.items(), key=lambda point: point[1]))
        found.append(
            Curve(name=name, attack=attack, over=over, points=ascending, facts=facts[cells[0]])
        )
    return sorted(found, key=lambda curve: curve.over != "eps")


def plot_robustness_curves(
    metrics: pd.DataFrame,
    *,
    title: str = "",
    grid: Grid | None = None,
    protocol: str = "own_pair",
    gallery_images: int | None = None,
) -> Figure:
    """Recall at 1 of every defence as the attacker's budget grows, a row of panels a curve.

    The open marker at 0 is the clean cell, which is of all test images. It is joined to the line
    where the attack is on all of them and a budget of 0 leaves nothing to attack; a joint attack
    at eps 0 still changes words.

    Args:
        metrics: rows of `metrics.csv`.
        title: name of the study.
        grid: defences and seeds to draw; found in the table if not given.
        protocol: `own_pair` or `full_gallery`.
        gallery_images: gallery size to draw; the study's main one if not given.
    """
    part = few(metrics, grid or grid_of(metrics))
    metrics, grid = part.metrics, part.grid
    drawn = curves(metrics)
    of = [
        select(
            metrics,
            metric="recall_at_k",
            protocol=protocol,
            gallery_images=gallery_images,
            curve=name,
        )
        for name in ["", *(curve.name for curve in drawn)]
    ]
    clean, rows = by_cell(of[0]), of[1:]
    every = pd.concat(rows) if rows else of[0].iloc[:0]
    with house_style():
        figure, axes = _figure(drawn, every, part, title, protocol)
        top = 0.0
        colours = defence_colours(grid.defences)
        for line, curve, points in zip(axes, drawn, rows, strict=False):
            cells = by_cell(points)
            for panel, direction in zip(line, DIRECTIONS, strict=True):
                panel_title(
                    panel,
                    f"{direction}: {label(curve.attack)} by {curve.over}",
                    under=curve.under(),
                )
                budget_axis(panel, curve)
                for order, defence in enumerate(grid.defences):
                    if not any(grid.has(defence, point) for point in curve.points):
                        continue
                    found = [cells[defence, point, direction] for point in curve.points]
                    start = clean[defence, "clean", direction]
                    shift = aside(panel, curve, order, len(grid.defences))
                    name = f"{direction}/{defence}/{curve.name}"
                    style = {"color": colours[defence]}
                    top = max(top, draw_line(panel, curve, found, start, shift, style, name))
                _name_gaps(panel, curve, cells, grid, direction)
                draw_chance(panel, points)
        nothing = "no results yet" if metrics.empty else "this study has no robustness curves"
        finish_panels(figure.axes, top=top, text="recall at 1", empty=False)
        for panel in [] if drawn else figure.axes:
            panel.set_xticks([])
            say_nothing(panel, nothing)
        defence_legend(figure, grid, [clean_handle(), chance_handle()] if drawn else [])
    return figure


def _figure(
    drawn: Sequence[Curve], every: pd.DataFrame, part: Few, title: str, protocol: str
) -> tuple[Figure, list[list[Axes]]]:
    count = max(len(drawn), 1)
    note = describe(every, part.grid) if drawn else "no curve has been computed"
    note += clean_note(drawn)
    bottom = 0.72
    return new_figure(
        (11.6, (2.2 + bottom) * count + 0.5 * (count - 1)),
        shape=(count, 2),
        bottom=bottom,
        panel_titles=bool(drawn),
        title=titled(title, "recall at 1 as the attacker may do more", resolution(every)),
        note=note + (protocol_note(protocol) + part.note if drawn else ""),
    )


def budget_axis(axes: Axes, curve: Curve) -> None:
    """The x axis of a curve: its budgets and 0 as ticks."""
    values = sorted({0.0, *curve.points.values()})
    largest = values[-1] or 1.0
    smallest = next((value for value in values if value > 0), largest)
    name = curve.axis()
    if curve.over == "eps" and largest > SQUARE_ROOT_FROM * smallest:
        axes.set_xscale("function", functions=(_signed_root, _signed_square))
        axes.set_xlim(-0.003 * largest, 1.1 * largest)
        name += ", square-root scale"
    else:
        axes.set_xlim(-0.06 * largest, 1.06 * largest)
    axes.set_xticks(values, [curve.tick(value) for value in values])
    axes.tick_params(axis="x", pad=6)
    axes.minorticks_off()
    axes.set_xlabel(name, fontsize=9.5, color=MUTED)


def aside(axes: Axes, curve: Curve, order: int, count: int) -> float:
    """Points to the right for the intervals of one of `count` lines, far from the next budget.

    Args:
        axes: prepared by `budget_axis`.
        curve: whose points are drawn.
        order: of the line, from 0.
        count: of lines.
    """
    figure = axes.get_figure()
    assert figure is not None
    budgets = np.array([(value, 0.0) for value in sorted({0.0, *curve.points.values()})])
    places = axes.transData.transform(budgets)[:, 0] * 72 / figure.dpi
    room = FAN * float(np.diff(places).min()) if len(places) > 1 else np.inf
    apart = min(APART, room / max(count - 1, 1))
    return apart * (order - (count - 1) / 2)


def _signed_root(x: Numbers) -> Numbers:
    return np.copysign(np.sqrt(np.abs(x)), x)


def _signed_square(x: Numbers) -> Numbers:
    return np.copysign(np.square(x), x)


def draw_line(
    axes: Axes,
    curve: Curve,
    cells: Sequence[pd.DataFrame],
    clean: pd.DataFrame,
    shift: float,
    style: Mapping[str, Any],
    name: str,
) -> float:
    """Draw the line of a defence and return its highest point.

    The line and its means stand at the budgets themselves, since lines that fall steeply would
    look more robust the further they are moved to the right. Seeds and intervals stand beside.

    Args:
        axes: prepared by `budget_axis`.
        curve: whose points are drawn.
        cells: rows of each of its points, one a seed; none where a cell is missing.
        clean: rows of the clean cell.
        shift: of seeds and intervals, points to the right.
        style: `color`, and what else the line has.
        name: identifier of the line in the picture.
    """
    figure = axes.get_figure()
    assert figure is not None
    beside = axes.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans)
    known = [
        (budget, cell.dropna(subset=["value"]))
        for budget, cell in zip(curve.points.values(), cells, strict=True)
    ]
    start = clean.dropna(subset=["value"])
    line = known if start.empty or not curve.starts_clean else [(0.0, start), *known]
    colour = style["color"]
    faint: dict[str, Any] = {"color": colour, "transform": beside, "alpha": 0.7}
    # the mean of no cell is no number, which breaks the line
    means = [100 * float(cell["value"].mean()) for _, cell in line]
    (drawn,) = axes.plot([x for x, _ in line], means, **{"linewidth": 2.2, **style})
    drawn.set_gid(name)
    points = [(x, cell) for x, cell in [*known, (0.0, start)] if not cell.empty]
    highest = 0.0
    for x, cell in points:
        mean, low, high = (100 * cell[key] for key in ("value", "low", "high"))
        axes.vlines([x] * len(cell), low, high, linewidth=1.4, **faint)
        if len(cell) > 1:
            axes.plot([x] * len(cell), mean, ".", markersize=4, **faint)
        face = "white" if cell is start else colour
        dot: dict[str, Any] = {"markersize": 6, "markerfacecolor": face, "clip_on": False}
        axes.plot([x], [mean.mean()], "o", color=colour, **dot)
        highest = max(highest, float(high.max()), float(mean.max()))
    return highest


def _name_gaps(axes: Axes, curve: Curve, cells: Cells, grid: Grid, direction: str) -> None:
    gaps = []
    for defence in grid.defences:
        lacking = [
            curve.tick(budget)
            for point, budget in curve.points.items()
            if grid.has(defence, point) and cells[defence, point, direction].empty
        ]
        if len(lacking) == len(curve.points):
            gaps.append(label(defence))
        elif lacking:
            gaps.append(f"{label(defence)} at {', '.join(lacking)}")
    say_missing(axes, gaps, y=0.9, apart="; ")


def clean_note(drawn: Sequence[Curve]) -> str:
    """Why clean isn't joined to curves, to be put after `describe`; empty where it is."""
    note = ""
    if any(curve.facts.joint for curve in drawn):
        note += f"{DOT}clean stands apart where the other modality is attacked at every point"
    if any(curve.facts.partial for curve in drawn):
        note += f"{DOT}clean is of all test images and stands apart where some are attacked"
    return note


def clean_handle() -> Line2D:
    """The mark of the clean cell in a legend."""
    return Line2D([], [], color=MUTED, marker="o", markerfacecolor="white", ls="", label="clean")
