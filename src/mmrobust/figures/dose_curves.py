"""Recall as the attacker may do more, by a setting of what a defence learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmrobust.figures.bars import chance_handle, draw_chance, finish_panels, say_nothing, top_legend
from mmrobust.figures.dose_response import (
    DASHES,
    DIRECTION,
    Sweep,
    sweeps_of,
    without_handle,
)
from mmrobust.figures.notes import describe, protocol_note, resolution, titled
from mmrobust.figures.robustness_curves import (
    Curve,
    aside,
    budget_axis,
    clean_handle,
    clean_note,
    curves,
    draw_line,
)
from mmrobust.figures.style import MUTED, house_style, label, new_figure, panel_title
from mmrobust.figures.table import Cells, Grid, by_cell, curves_of, grid_of, select
from mmrobust.sweep_table import Point

BOTTOM_INCHES = 0.72
NOTHING = "no curve is run on the sweeps"


def plot_dose_curves(
    metrics: pd.DataFrame,
    points: Sequence[Point],
    *,
    title: str = "",
    grid: Grid | None = None,
    gallery_images: int | None = None,
) -> Figure:
    """Recall at 1 (i2t, one-image labels, own pair) along each curve, a line a value of a sweep.

    A panel for each curve that the points of a sweep met. The dashed line is the same defence
    without augmentations, where the study has it.

    Args:
        metrics: rows of `metrics.csv`, the points of sweeps among them.
        points: of `sweeps.csv`.
        title: name of the study.
        grid: seeds to draw; found in the table if not given.
        gallery_images: gallery size to draw; the study's main one if not given.
    """
    grid = grid or grid_of(metrics)
    clean, *rest = (
        select(
            metrics,
            metric="recall_at_k",
            protocol="own_pair",
            gallery_images=gallery_images,
            curve=name,
        )
        for name in ("", *curves_of(metrics))
    )
    rows = dict(zip(curves_of(metrics), rest, strict=True))
    cells, start = {name: by_cell(of) for name, of in rows.items()}, by_cell(clean)
    panels = [
        (sweep, curve)
        for curve in curves(metrics)
        for sweep in sweeps_of(
            points, cells[curve.name], replace(grid, attacks=tuple(curve.points))
        )
        if sweep.attacks
    ]
    defences = [name for point in points for name in (point.defence, point.without)]
    shown = [rows[name] for name in dict.fromkeys(curve.name for _, curve in panels)]
    drawn = pd.concat(shown) if shown else metrics.iloc[:0]
    drawn = drawn[drawn["defence"].isin(defences) & (drawn["direction"] == DIRECTION)]
    with house_style():
        figure, axes = _figure([curve for _, curve in panels], drawn, grid, title)
        top = 0.0
        for panel, (sweep, curve) in zip(axes, panels, strict=False):
            over = f"{label(sweep.points[0].sweep)}: {label(curve.attack)} by {curve.over}"
            panel_title(panel, over, under=sweep.about)
            budget_axis(panel, curve)
            top = max(top, _draw(panel, sweep, curve, cells[curve.name], start))
            draw_chance(panel, drawn)
        finish_panels(axes, top=top, text=f"recall at 1 ({DIRECTION})", empty=False)
        for panel in axes[len(panels) :]:
            panel.set_visible(not panels)
            panel.set_xticks([])
            say_nothing(panel, NOTHING)
        if panels:
            bare = any(_met_without(sweep, curve, cells[curve.name]) for sweep, curve in panels)
            dashed = [without_handle()] if bare else []
            top_legend(figure, [clean_handle(), *dashed, chance_handle()])
    return figure


def _figure(
    met: Sequence[Curve], drawn: pd.DataFrame, grid: Grid, title: str
) -> tuple[Figure, list[Axes]]:
    count = len(met)
    note = describe(drawn, grid) + clean_note(met) + protocol_note("own_pair") if met else NOTHING
    columns, rows = (2, (count + 1) // 2) if count else (1, 1)
    figure, axes = new_figure(
        (11.6, (2.2 + BOTTOM_INCHES) * rows + 0.5 * (rows - 1)),
        shape=(rows, columns),
        title=titled(
            title, "what augmentations are like, as the attacker may do more", resolution(drawn)
        ),
        note=note,
        bottom=BOTTOM_INCHES,
        panel_titles=bool(count),
    )
    return figure, [panel for row in axes for panel in row]


def _draw(axes: Axes, sweep: Sweep, curve: Curve, cells: Cells, clean: Cells) -> float:
    """Draw a line a value, the darker the later, and name the values; return the highest point."""
    shades = seaborn.color_palette("flare", len(sweep.points)).as_hex()
    lines = [
        (point.defence, point.value, {"color": shade})
        for point, shade in zip(sweep.points, shades, strict=True)
    ]
    if _met_without(sweep, curve, cells):
        lines.append((sweep.points[0].without, "without", {"color": MUTED, **DASHES}))
    top = 0.0
    for order, (defence, value, style) in enumerate(lines):
        found = [cells[defence, attack, DIRECTION] for attack in curve.points]
        shift = aside(axes, curve, order, len(lines))
        start = clean[defence, "clean", DIRECTION]
        name = f"{sweep.points[0].sweep}/{curve.name}/{value}"
        top = max(top, draw_line(axes, curve, found, start, shift, style, name))
    handles = [
        Line2D([], [], color=shade, label=point.value)
        for point, shade in zip(sweep.points, shades, strict=True)
    ]
    boxed: dict[str, Any] = {"frameon": True, "facecolor": "white", "edgecolor": "none"}
    axes.legend(handles=handles, title=sweep.knob, loc="upper right", **boxed)
    return top


def _met_without(sweep: Sweep, curve: Curve, cells: Cells) -> bool:
    """Whether the curve was run on the defence without augmentations."""
    without = sweep.points[0].without
    return any(not cells[without, attack, DIRECTION].empty for attack in curve.points)
