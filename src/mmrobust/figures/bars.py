"""Bars grouped by attack and coloured by defence: the panel that several figures share."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mmrobust.figures.notes import PANEL_ROOM, missing
from mmrobust.figures.style import (
    INK,
    MISSING,
    MUTED,
    PANEL_TITLE_INCHES,
    defence_colours,
    label,
    make_room,
    new_figure,
    percent_axis,
)
from mmrobust.figures.table import Grid, by_cell

GROUP_WIDTH = 0.84
EDGE_INCHES = 0.2

SIDE_BY_SIDE = 6.6
"""Inches up to which a panel leaves room for another one at its side."""


def panel_width(grid: Grid) -> float:
    """Width in inches of a panel on which every bar can carry its number."""
    bars = max(len(grid.defences), 1) * max(len(grid.attacks), 1)
    return float(np.clip(0.42 * bars + 0.6, 5.8, 16))


def bar_figure(
    grid: Grid, *, rows: int, title: str, note: str
) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A figure of bar panels, and for each of `rows` its panels i2t and t2i.

    They stand side by side, or below each other where bars of many attacks need the width.
    """
    width = panel_width(grid)
    together = width <= SIDE_BY_SIDE
    width = 2 * width if together else max(width, 2 * SIDE_BY_SIDE)
    group = (width / (2 if together else 1) - 0.95) / (len(grid.attacks) + 0.1)
    lines = max((_wrapped(name, group).count("\n") for name in grid.attacks), default=0)
    bottom = 0.5 + 0.17 * lines
    count = rows if together else 2 * rows
    figure, axes = new_figure(
        (width, 2.0 * count + bottom * count + PANEL_TITLE_INCHES * (count - 1)),
        shape=(rows, 2) if together else (count, 1),
        title=title,
        note=note,
        bottom=bottom,
    )
    panels = [panel for row in axes for panel in row]
    for panel in panels:
        ticks = [_wrapped(name, group) for name in grid.attacks]
        panel.set_xticks(range(len(grid.attacks)), ticks)
        panel.set_xlim(-0.55, max(len(grid.attacks), 1) - 0.45)
    return figure, list(zip(panels[::2], panels[1::2], strict=True))


def _wrapped(attack: str, inches: float) -> str:
    """The name of an attack on lines that fit into `inches`, where its words let them."""
    return textwrap.fill(label(attack), max(int(inches * 11), 1), break_long_words=False)


def draw_bars(axes: Axes, rows: pd.DataFrame, *, grid: Grid, direction: str) -> float:
    """Draw one panel.

    A bar is the mean over seeds, in percent. With one seed its whisker is the interval of the
    table; with several, every seed is a dot with its own interval. A cell that the table lacks
    is hatched and says `missing`, and the place of one that the study doesn't mean to have stays
    free; a value that does not exist (nothing to attack) says `undefined`; a star marks a bar
    with fewer seeds than the study has.

    Returns:
        The highest point drawn, in percent.
    """
    width = GROUP_WIDTH / max(len(grid.defences), 1)
    colours, cells = defence_colours(grid.defences), by_cell(rows)
    top = 0.0
    for order, defence in enumerate(grid.defences):
        for group, attack in enumerate(grid.attacks):
            if not grid.has(defence, attack):
                continue
            x = group + (order - (len(grid.defences) - 1) / 2) * width
            cell = cells[defence, attack, direction]
            known = cell.dropna(subset=["value"])
            if known.empty:
                _draw_gap(axes, x, width, "missing" if cell.empty else "undefined")
            else:
                short = len(known) < len(grid.seeds)
                top = max(top, _draw_bar(axes, x, width, known, colours[defence], short=short))
                axes.patches[-1].set_gid(f"{direction}/{defence}/{attack}")
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
    axes.annotate(
        f"{mean:.1f}" + ("*" if short else ""),
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
    """The colours of the defences, and what is named beside them."""
    colours = defence_colours(grid.defences)
    handles: list[Artist] = [
        Patch(color=colours[defence], label=label(defence)) for defence in grid.defences
    ]
    if grid.defences:
        top_legend(figure, [*handles, *extra])


def top_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """One legend for all panels, between note and panels, on as many lines as it needs."""
    height = 0.0
    for lines in range(1, len(handles) + 1):
        legend = _legend(figure, handles, columns=-(-len(handles) // lines))
        box = legend.get_window_extent()
        height = height or box.height
        if box.x1 <= figure.bbox.x1 - EDGE_INCHES * figure.dpi or lines == len(handles):
            break
        legend.remove()
    if lines > 1:
        make_room(figure, (box.height - height) / figure.dpi)
        # panels have moved
        legend.remove()
        _legend(figure, handles, columns=-(-len(handles) // lines))


def _legend(figure: Figure, handles: Sequence[Artist], *, columns: int) -> Legend:
    width, height = figure.get_size_inches()
    first = figure.axes[0]
    over = 0.16 + (PANEL_TITLE_INCHES if first.get_title("left") else 0.0)
    # matplotlib fills columns, readers read lines
    ordered = [handle for column in range(columns) for handle in handles[column::columns]]
    return figure.legend(
        handles=ordered,
        loc="lower left",
        bbox_to_anchor=(EDGE_INCHES / width, first.get_position().y1 + over / height),
        ncols=columns,
        borderaxespad=0,
        borderpad=0,
        handlelength=1.5,
        handleheight=0.9,
        columnspacing=1.6,
    )


def finish_panels(
    panels: Iterable[Axes], *, top: float, text: str, empty: bool, bottom: float = 0.0
) -> None:
    """Give all panels the same percent axis; `empty`: say that there is nothing to draw."""
    for panel in panels:
        first = panel.get_subplotspec().is_first_col()  # type: ignore[union-attr]
        percent_axis(panel, top=top or 100, bottom=bottom, text=text if first else None)
        if empty:
            say_nothing(panel)


def say_nothing(axes: Axes, text: str = "no results yet") -> None:
    """Say in the middle of a panel why it is empty."""
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=13
    )


def say_missing(axes: Axes, names: Sequence[str], *, y: float, apart: str = ", ") -> None:
    """Say in a box at the right of a panel, at a height of it, what should be drawn and isn't."""
    if names:
        axes.text(
            0.98,
            y,
            missing(names, room=PANEL_ROOM, apart=apart),
            transform=axes.transAxes,
            ha="right",
            va="center",
            color=MUTED,
            bbox={"facecolor": "white", "edgecolor": MISSING, "linestyle": "--"},
        )


def draw_chance(axes: Axes, rows: pd.DataFrame) -> None:
    """A dotted line at the recall at 1 of guessing."""
    if not rows.empty:
        # a query's own image or captions are this share of what is ranked
        share = 100 / float(rows["gallery_images"].iloc[0])
        chance = axes.axhline(share, color=MUTED, linestyle=":", linewidth=1.3)
        chance.set_gid("chance")


def chance_handle() -> Line2D:
    """The entry of that line in a legend."""
    return Line2D([], [], color=MUTED, linestyle=":", linewidth=1.3, label="chance")
