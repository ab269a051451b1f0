"""Bars grouped by attack and coloured by defence: the panel that several figures share."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mmrobust.figures.style import (
    INK,
    MISSING,
    MUTED,
    PANEL_TITLE_INCHES,
    defence_colours,
    label,
    percent_axis,
)
from mmrobust.figures.table import Grid, by_cell

GROUP_WIDTH = 0.84


def panel_width(grid: Grid) -> float:
    """Width in inches of a panel on which every bar can carry its number."""
    bars = max(len(grid.defences), 1) * max(len(grid.attacks), 1)
    return float(np.clip(0.42 * bars + 0.6, 5.8, 16))


def draw_bars(axes: Axes, rows: pd.DataFrame, *, grid: Grid, direction: str) -> float:
    """Draw one panel.

    A bar is the mean over seeds, in percent. With one seed its whisker is the interval of the
    table; with several, every seed is a dot with its own interval. A cell that the table lacks
    is hatched and says `missing`; a value that does not exist (nothing to attack) says
    `undefined`; a star marks a bar with fewer seeds than the study has.

    Returns:
        The highest point drawn, in percent.
    """
    width = GROUP_WIDTH / max(len(grid.defences), 1)
    colours, cells = defence_colours(grid.defences), by_cell(rows)
    top = 0.0
    for order, defence in enumerate(grid.defences):
        for group, attack in enumerate(grid.attacks):
            x = group + (order - (len(grid.defences) - 1) / 2) * width
            cell = cells[defence, attack, direction]
            known = cell.dropna(subset=["value"])
            if known.empty:
                _draw_gap(axes, x, width, "missing" if cell.empty else "undefined")
            else:
                short = len(known) < len(grid.seeds)
                top = max(top, _draw_bar(axes, x, width, known, colours[defence], short=short))
                axes.patches[-1].set_gid(f"{direction}/{defence}/{attack}")
    axes.set_xticks(range(len(grid.attacks)), [label(attack) for attack in grid.attacks])
    axes.set_xlim(-0.55, max(len(grid.attacks), 1) - 0.45)
    return top


def _draw_bar(
    axes: Axes, x: float, width: float, cell: pd.DataFrame, colour: str, *, short: bool
) -> float:
    values, mean = 100 * cell["value"].to_numpy(), 100 * float(cell["value"].mean())
    low, high = 100 * cell["low"].to_numpy(), 100 * cell["high"].to_numpy()
    spread = np.clip(np.stack([values - low, high - values]), 0, None)
    axes.bar(x, mean, width=width * 0.9, color=colour, linewidth=0)
    several = len(cell) > 1
    places = x + (np.linspace(-0.22, 0.22, len(cell)) * width if several else np.zeros(1))
    axes.errorbar(
        places,
        values,
        yerr=spread,
        fmt="o" if several else "none",
        markersize=3.4,
        markerfacecolor="white",
        markeredgecolor=INK,
        markeredgewidth=0.9,
        ecolor=INK,
        elinewidth=1.2,
        capsize=0 if several else 2.5,
    )
    top = float(max(mean, *values, *high))
    number = f"{mean:.1f}" if mean < 9.95 else f"{mean:.0f}"
    axes.annotate(
        number + ("*" if short else ""),
        (x, top),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=9,
    )
    return top


def _draw_gap(axes: Axes, x: float, width: float, word: str) -> None:
    blend = axes.get_xaxis_transform()  # x in groups, y as a share of the panel
    axes.fill_between(
        [x - width * 0.45, x + width * 0.45],
        0,
        0.42,
        transform=blend,
        facecolor="white",
        hatch="////",
        edgecolor=MISSING,
        linewidth=0.8,
        linestyle=(0, (3, 2)),
    )
    text = axes.text(
        x, 0.21, word, transform=blend, rotation=90, ha="center", va="center", fontsize=9.5
    )
    text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.5})


def defence_legend(figure: Figure, grid: Grid, extra: Iterable[Artist] = ()) -> None:
    """One legend for all panels, between note and panels."""
    colours = defence_colours(grid.defences)
    handles: list[Artist] = [
        Patch(color=colours[defence], label=label(defence)) for defence in grid.defences
    ]
    handles += extra
    if grid.defences:
        width, height = figure.get_size_inches()
        first = figure.axes[0]
        over = 0.16 + (PANEL_TITLE_INCHES if first.get_title("left") else 0.0)
        figure.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0.2 / width, first.get_position().y1 + over / height),
            ncols=len(handles),
            borderaxespad=0,
            borderpad=0,
            handlelength=1.5,
            handleheight=0.9,
            columnspacing=1.6,
        )


def finish_panels(axes: list[list[Axes]], *, top: float, text: str, empty: bool) -> None:
    """Give all panels the same percent axis; `empty`: say that there is nothing to draw."""
    for row in axes:
        for column, panel in enumerate(row):
            percent_axis(panel, top=top or 100, text=text if column == 0 else None)
            if empty:
                panel.text(
                    0.5,
                    0.5,
                    "no results yet",
                    transform=panel.transAxes,
                    ha="center",
                    color=MUTED,
                    fontsize=13,
                )
