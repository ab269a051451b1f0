"""Recall under attack by a setting of what a defence learns from: a panel a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmrobust.figures.bars import (
    chance_handle,
    draw_chance,
    finish_panels,
    say_missing,
    say_nothing,
    top_legend,
)
from mmrobust.figures.notes import DOT, describe, protocol_note, resolution, titled
from mmrobust.figures.rows import attack_style
from mmrobust.figures.style import (
    INK,
    MUTED,
    house_style,
    label,
    new_figure,
    panel_title,
)
from mmrobust.figures.sweeps import Measures, laid_out
from mmrobust.figures.table import Cells, Grid, by_cell, grid_of, select
from mmrobust.sweep_table import Point

DIRECTION = "i2t"
MEASURED = {
    "true_share": ("true", 100, "{:.0f} %"),
    "embedding_spread": ("spread", 1, "{:.2f}"),
    "frechet_distance": ("distance", 1, "{:.3f}"),
}
"""What stands under the axis of the set of each point: its name there, and how it is written."""
DASHES: dict[str, Any] = {"linestyle": (0, (5, 3)), "linewidth": 1.0, "alpha": 0.75}
LEFT_INCHES, LINE_INCHES = 1.2, 0.2
STEP, FAN = 0.07, 0.03
"""How far apart, in values of the axis, lines stand, and the first and last seed of a point."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The points of a sweep, and the attacks that they met, `clean` among them."""

    points: list[Point]
    attacks: list[str]

    @property
    def about(self) -> str:
        """Which defence learns from what."""
        first = self.points[0]
        return f"{label(first.base)} learns from {label(first.swept)}"

    @property
    def knob(self) -> str:
        """What is varied."""
        first = self.points[0]
        return "number" if first.field == "n" else label(first.field)


def sweeps_of(points: Sequence[Point], cells: Cells, grid: Grid) -> list[Sweep]:
    """The sweeps in their order, each with the attacks of the grid that its points met.

    What the defences that a study writes met and none that its sweeps laid out was not meant for
    the sweep.
    """
    found, added = [], laid_out(points)
    for name in dict.fromkeys(point.sweep for point in points):
        own = [point for point in points if point.sweep == name]
        met = [
            attack
            for attack in grid.attacks
            if any(
                _known(cells, point.defence, attack) is not None
                for point in own
                if point.defence in added
            )
        ]
        found.append(Sweep(points=own, attacks=met))
    return found


def plot_dose_response(
    metrics: pd.DataFrame,
    points: Sequence[Point],
    measures: Measures,
    *,
    title: str = "",
    grid: Grid | None = None,
    gallery_images: int | None = None,
) -> Figure:
    """Recall at 1 (i2t, one-image labels, full gallery) over the values of each sweep.

    Values stand evenly, as they are written; under each, what was measured of the set that is
    learned from. A dashed line is the same defence without augmentations, under the same attack,
    where the study has it.

    Args:
        metrics: rows of `metrics.csv`, the points of sweeps among them.
        points: of `sweeps.csv`.
        measures: of `augmentations.csv`.
        title: name of the study.
        grid: attacks and seeds to draw; found in the table if not given.
        gallery_images: gallery size to draw; the study's main one if not given.
    """
    grid = grid or grid_of(metrics)
    rows = select(metrics, metric="recall_at_k", gallery_images=gallery_images)
    rows = rows[rows["direction"] == DIRECTION]
    cells = by_cell(rows)
    sweeps = sweeps_of(points, cells, grid)
    attacks = [name for name in grid.attacks if any(name in sweep.attacks for sweep in sweeps)]
    of_points = rows["defence"].isin([point.defence for point in points])
    drawn = rows[of_points & rows["attack"].isin(attacks)]
    with house_style():
        figure, panels = _figure(sweeps, drawn, grid, title, bool(measures))
        top, bare = 0.0, False
        for panel, sweep in zip(panels, sweeps, strict=False):
            panel_title(panel, label(sweep.points[0].sweep), under=sweep.about)
            _prepare(panel, sweep, measures)
            for attack in sweep.attacks:
                top = max(top, _draw(panel, sweep, attack, cells, attacks))
                bare |= _draw_bare(panel, sweep, attack, cells, attacks)
            draw_chance(panel, drawn)
            if not sweep.attacks:
                say_nothing(panel)
            say_missing(panel, _gaps(sweep, cells), y=0.93, apart="; ")
        finish_panels(panels, top=top, text=f"recall at 1 ({DIRECTION})", empty=False)
        for panel in panels[len(sweeps) :] if sweeps else []:
            panel.set_visible(False)
        for panel in [] if sweeps else panels:
            panel.set_xticks([])
            say_nothing(panel, "this study has no sweeps")
        if attacks:
            top_legend(figure, _handles(attacks, bare=bare))
    return figure


def _known(cells: Cells, defence: str, attack: str) -> pd.DataFrame | None:
    """The rows of a cell that hold a number, one a seed; None if there are none."""
    cell = cells[defence, attack, DIRECTION].dropna(subset=["value"])
    return None if cell.empty else cell


def _gaps(sweep: Sweep, cells: Cells) -> list[str]:
    """Attacks that some points lack, with the values of these."""
    lacking = {
        attack: [
            point.value for point in sweep.points if _known(cells, point.defence, attack) is None
        ]
        for attack in sweep.attacks
    }
    return [f"{label(name)} at {', '.join(at)}" for name, at in lacking.items() if at]


def _figure(
    sweeps: Sequence[Sweep], drawn: pd.DataFrame, grid: Grid, title: str, measured: bool
) -> tuple[Figure, list[Axes]]:
    columns, rows = (2, (len(sweeps) + 1) // 2) if sweeps else (1, 1)
    bottom = 0.42 + LINE_INCHES * (len(MEASURED) if measured else 0)
    note = (
        describe(drawn, grid) + protocol_note("full_gallery")
        if sweeps
        else "no sweep has been computed"
    )
    if not drawn.empty and measured:
        note += (
            f"{DOT}under each value, of the set: share that is true, spread of an item's own, "
            "Fréchet distance to the originals"
        )
    width = 12.6
    figure, axes = new_figure(
        (width, 2.5 * rows + bottom * rows + 0.5 * (rows - 1)),
        shape=(rows, columns),
        title=titled(title, "recall at 1 by what augmentations are like", resolution(drawn)),
        note=note,
        left=LEFT_INCHES,
        bottom=bottom,
        panel_titles=bool(sweeps),
    )
    inches = (width - LEFT_INCHES - 0.2 - LEFT_INCHES * (columns - 1)) / columns
    figure.subplots_adjust(wspace=LEFT_INCHES / inches)
    return figure, [panel for row in axes for panel in row]


def _prepare(axes: Axes, sweep: Sweep, measures: Measures) -> None:
    """The x axis of a sweep: its values, and under them what was measured of their sets."""
    places = range(len(sweep.points))
    axes.set_xticks(places, [])
    axes.set_xlim(-0.5, len(sweep.points) - 0.5)
    lines = [(sweep.knob, [point.value for point in sweep.points], INK)]
    for measure, (name, scale, written) in MEASURED.items():
        found = [measures.get((point.augmentation, point.n, measure)) for point in sweep.points]
        if any(value is not None for value in found):
            told = ["-" if value is None else written.format(scale * value) for value in found]
            lines.append((name, told, MUTED))
    for at, (name, told, colour) in enumerate(lines):
        style: dict[str, Any] = {
            "xytext": (0, -14 - 72 * LINE_INCHES * at),
            "textcoords": "offset points",
            "va": "center",
            "color": colour,
            "fontsize": 9.5,
        }
        axes.annotate(name, (0, 0), xycoords="axes fraction", ha="right", **style)
        for x, text in zip(places, told, strict=True):
            axes.annotate(text, (x, 0), xycoords=axes.get_xaxis_transform(), ha="center", **style)


def _draw(axes: Axes, sweep: Sweep, attack: str, cells: Cells, attacks: Sequence[str]) -> float:
    """Draw the line of an attack and return its highest point."""
    style = attack_style(attack, attacks)
    shift = STEP * (attacks.index(attack) - (len(attacks) - 1) / 2)
    means, highest = [], 0.0
    for at, point in enumerate(sweep.points):
        cell = _known(cells, point.defence, attack)
        if cell is None:
            means.append(np.nan)  # which breaks the line
            continue
        value, low, high = (100 * cell[key].to_numpy() for key in ("value", "low", "high"))
        fan = np.linspace(-FAN, FAN, len(cell)) if len(cell) > 1 else np.zeros(1)
        seeds = at + shift + fan
        axes.vlines(seeds, low, high, color=style["color"], linewidth=1.1, alpha=0.6)
        if len(cell) > 1:
            axes.plot(seeds, value, ".", color=style["color"], markersize=3.5, alpha=0.7)
        means.append(float(value.mean()))
        highest = max(highest, float(high.max()), means[-1])
    places = np.arange(len(sweep.points)) + shift
    (line,) = axes.plot(places, means, linewidth=2.0, markersize=6, **style)
    line.set_gid(f"{sweep.points[0].sweep}/{attack}")
    return highest


def _draw_bare(axes: Axes, sweep: Sweep, attack: str, cells: Cells, attacks: Sequence[str]) -> bool:
    """Draw what the defence keeps without augmentations, if that was measured."""
    cell = _known(cells, sweep.points[0].without, attack)
    if cell is None:
        return False
    colour = attack_style(attack, attacks)["color"]
    mean = 100 * float(cell["value"].mean())
    line = axes.axhline(mean, color=colour, zorder=1.5, **DASHES)
    line.set_gid(f"{sweep.points[0].sweep}/{attack}/without")
    return True


def _handles(attacks: Sequence[str], *, bare: bool) -> list[Artist]:
    handles: list[Artist] = [
        Line2D(
            [],
            [],
            linewidth=2.0,
            markersize=6,
            label=label(attack),
            **attack_style(attack, attacks),
        )
        for attack in attacks
    ]
    if bare:
        handles.append(without_handle())
    return [*handles, chance_handle()]


def without_handle() -> Line2D:
    """The dashed line in a legend."""
    return Line2D([], [], color=MUTED, label="without augmentations", **DASHES)
