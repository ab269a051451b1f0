"""Recall at 1 of many defences: a row each, with a mark for every attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmrobust.ensembles import has_recall
from mmrobust.figures.bars import chance_handle, top_legend
from mmrobust.figures.notes import resolution, titled
from mmrobust.figures.rows import across, attack_style, tell_missing
from mmrobust.figures.style import GRID, INK, MUTED, label, new_figure, panel_title
from mmrobust.figures.table import DIRECTIONS, Cells, Grid, by_cell

WIDTH, ROW_INCHES, MARK_INCHES = 12.6, 0.36, 0.1
CHARACTER_INCHES = 0.094
SPREAD, FAN = 0.5, 0.05
"""How far apart, in rows, the first and last attack stand, and seeds of one mark."""


def draw_rows(rows: pd.DataFrame, grid: Grid, *, title: str, what: str, note: str) -> Figure:
    """Recall at 1 by one-image labels, a row a defence in the study's order, a mark an attack.

    A mark is the mean over seeds; each seed is a dot with its interval beside it. A star marks a
    mean over fewer seeds than the study has. A worst case of one direction has no place in the
    other.

    Args:
        rows: of one measure, protocol and gallery size.
        grid: defences, attacks and seeds to draw.
        title: name of the study.
        what: what the figure shows.
        note: what was measured, on how much.
    """
    names = [label(defence) for defence in grid.defences]
    row = max(ROW_INCHES, MARK_INCHES * len(grid.attacks))
    figure, axes = new_figure(
        (WIDTH, row * max(len(names), 3) + 0.6),
        shape=(1, 2),
        title=titled(title, what, resolution(rows)),
        note=note,
        left=0.35 + CHARACTER_INCHES * max(map(len, names), default=0),
        bottom=0.6,
    )
    cells = by_cell(rows)
    worst_case = dict(zip(rows["attack"], rows["worst_case"], strict=True))
    top = 100.0 if rows["high"].dropna().empty else 100 * float(rows["high"].max())
    for panel, direction in zip(axes[0], DIRECTIONS, strict=True):
        panel_title(
            panel, f"{direction}: {DIRECTIONS[direction]}", under="scored by one-image labels"
        )
        across(panel, top=top)
        panel.set_ylim(max(len(names), 1) - 0.5, -0.5)
        measured = tuple(of for of in grid.attacks if has_recall(worst_case.get(of, ""), direction))
        for y, defence in enumerate(grid.defences):
            panel.axhline(y + 0.5, color=GRID, linewidth=0.9, zorder=0.5)
            _draw_row(panel, y, defence, measured, cells, grid, direction)
        if not rows.empty:
            share = 100 / float(rows["gallery_images"].iloc[0])
            line = panel.axvline(share, color=MUTED, linestyle=":", linewidth=1.3)
            line.set_gid("chance")
    axes[0][0].set_yticks(range(len(names)), names, color=INK)
    styles = {name: attack_style(name, grid.attacks) for name in grid.attacks}
    handles = [
        Line2D([], [], linestyle="", markersize=7, label=label(name), **style)
        for name, style in styles.items()
    ]
    if not rows.empty:
        top_legend(figure, [*handles, chance_handle()])
    return figure


def _draw_row(
    axes: Axes,
    y: int,
    defence: str,
    measured: Sequence[str],
    cells: Cells,
    grid: Grid,
    direction: str,
) -> None:
    missing, drawn = [], []
    for order, attack in enumerate(grid.attacks):
        if attack not in measured or not grid.has(defence, attack):
            continue
        cell = cells[defence, attack, direction].dropna(subset=["value"])
        if cell.empty:
            missing.append(label(attack))
            continue
        step = SPREAD / max(len(grid.attacks) - 1, 1)
        at = y + step * (order - (len(grid.attacks) - 1) / 2)
        drawn.append(_draw_mark(axes, at, cell, attack, grid))
        axes.lines[-1].set_gid(f"{direction}/{defence}/{attack}")
    tell_missing(axes, y, missing, drawn)


def _draw_mark(axes: Axes, y: float, cell: pd.DataFrame, attack: str, grid: Grid) -> float:
    """Draw the seeds of a cell and their mean, and return the mean."""
    style = attack_style(attack, grid.attacks)
    value, low, high = (100 * cell[key].to_numpy() for key in ("value", "low", "high"))
    fan = y + (np.linspace(-FAN, FAN, len(cell)) if len(cell) > 1 else np.zeros(1))
    axes.hlines(fan, low, high, color=style["color"], linewidth=0.8, alpha=0.6)
    if len(cell) > 1:
        axes.plot(value, fan, ".", color=style["color"], markersize=2.5, alpha=0.8)
    mean = float(value.mean())
    if len(cell) < len(grid.seeds):
        beside: dict[str, Any] = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate("*", (mean, y), fontsize=9, **beside)
    axes.plot([mean], [y], markersize=6, markeredgewidth=1.1, linestyle="", **style)
    return mean
