"""Recall under attack by how many results a user looks at."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmrobust.figures.bars import defence_legend, finish_panels, say_missing
from mmrobust.figures.few import few
from mmrobust.figures.notes import describe, protocol_note, resolution, titled
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
    Grid,
    by_cell,
    grid_of,
    select,
    strongest_attack,
)


def plot_recall_at_k(
    metrics: pd.DataFrame,
    *,
    title: str = "",
    grid: Grid | None = None,
    attack: str | None = None,
    protocol: str = "full_gallery",
    gallery_images: int | None = None,
) -> Figure:
    """Recall at 1, 5, 10 under one attack (solid) and on clean inputs (dotted), per defence.

    Args:
        metrics: rows of `metrics.csv`.
        title: name of the study.
        grid: defences, attacks and seeds to draw; found in the table if not given.
        attack: the attack to draw; if not given, the one that leaves the least recall at 1.
        protocol: `full_gallery` or `own_pair`.
        gallery_images: gallery size to draw; the study's main one if not given.
    """
    grid = grid or grid_of(metrics)
    attack = attack or strongest_attack(metrics, grid)
    part = few(metrics, grid)
    metrics, grid = part.metrics, part.grid
    rows = select(
        metrics, metric="recall_at_k", k=None, protocol=protocol, gallery_images=gallery_images
    )
    drawn = rows[rows["attack"].isin([attack, "clean"])]
    ks = sorted({int(k) for k in rows["k"]})
    cells, colours = by_cell(rows), defence_colours(grid.defences)
    with house_style():
        figure, axes = new_figure(
            (11.6, 2.7),
            shape=(1, 2),
            title=titled(
                title,
                f"recall at k under {label(attack) if attack else 'attack'}",
                resolution(drawn),
            ),
            note=describe(drawn, grid) + protocol_note(protocol) + part.note,
        )
        top = 0.0
        for panel, direction in zip(axes[0], DIRECTIONS, strict=True):
            panel_title(
                panel, f"{direction}: {DIRECTIONS[direction]}", under="scored by one-image labels"
            )
            for order, defence in enumerate(grid.defences):
                shift = 0.05 * (order - (len(grid.defences) - 1) / 2)
                for name in [attack, "clean"] if attack else ["clean"]:
                    cell = cells[defence, name, direction]
                    line = f"{direction}/{defence}/{name}"
                    top = max(top, _draw_line(panel, cell, ks, shift, colours[defence], line))
            panel.set_xticks(range(len(ks)), [f"recall at {k}" for k in ks])
            panel.set_xlim(-0.3, max(len(ks), 1) - 0.7)
            _name_gaps(panel, drawn, grid, direction, [attack] if attack else [])
        finish_panels(figure.axes, top=top, text="recall", empty=drawn.empty)
        defence_legend(figure, grid, _line_handles(attack))
    return figure


def _draw_line(
    axes: Axes, cell: pd.DataFrame, ks: list[int], shift: float, colour: str, name: str
) -> float:
    known = cell.dropna(subset=["value"])
    if known.empty:
        return 0.0
    clean = name.endswith("/clean")
    mean = known.groupby("k", sort=True)["value"].mean()
    places, means = mean.index.map(ks.index) + shift, 100 * mean.to_numpy()
    (line,) = axes.plot(
        places,
        means,
        color=colour,
        linewidth=1.4 if clean else 2.4,
        linestyle=":" if clean else "-",
        marker="o",
        markersize=4 if clean else 5,
        markerfacecolor="white" if clean else colour,
        clip_on=False,
    )
    line.set_gid(name)
    x = known["k"].map(ks.index) + shift
    axes.vlines(x, 100 * known["low"], 100 * known["high"], color=colour, linewidth=1.4, alpha=0.6)
    if known["seed"].nunique() > 1:
        axes.plot(x, 100 * known["value"], ".", color=colour, markersize=4, alpha=0.6)
    return float(max(*means, *(100 * known["high"])))


def _name_gaps(
    axes: Axes, rows: pd.DataFrame, grid: Grid, direction: str, attacks: list[str]
) -> None:
    cells = by_cell(rows)
    gaps = [
        f"{label(defence)} under {label(attack)}"
        for attack in attacks
        for defence in grid.defences
        if grid.has(defence, attack) and cells[defence, attack, direction].empty
    ]
    say_missing(axes, gaps, y=0.07)


def _line_handles(attack: str | None) -> list[Line2D]:
    clean = Line2D(
        [], [], color=MUTED, linestyle=":", marker="o", markerfacecolor="white", label="clean"
    )
    if attack is None:
        return [clean]
    return [Line2D([], [], color=MUTED, linewidth=2.4, marker="o", label=label(attack)), clean]
