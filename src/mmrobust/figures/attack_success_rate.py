"""How often an attack succeeds, by both definitions that are in use."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from mmrobust.figures.bars import bar_figure, defence_legend, draw_bars, finish_panels
from mmrobust.figures.few import few
from mmrobust.figures.notes import (
    DOT,
    describe,
    elsewhere_note,
    protocol_note,
    resolution,
    titled,
)
from mmrobust.figures.style import house_style, panel_title
from mmrobust.figures.table import DIRECTIONS, Grid, grid_of, select, within_protocol

DEFINITIONS = {
    "attack_success_rate": "conditional (SGA): share lost of queries right on clean inputs",
    "recall_drop": "difference (Co-Attack): clean recall minus recall under attack",
}
"""Both quantities that papers call attack success rate, by their metric's name."""
AXIS = {"attack_success_rate": "attack success rate", "recall_drop": "recall lost"}
"""What their axes count."""


def plot_attack_success_rate(
    metrics: pd.DataFrame,
    *,
    title: str = "",
    grid: Grid | None = None,
    protocol: str = "full_gallery",
    labels: str = "one_image",
    gallery_images: int | None = None,
) -> Figure:
    """Both published attack success rates of every attack on every defence, a row each.

    Args:
        metrics: rows of `metrics.csv`, as `table.read_metrics` gives them.
        title: name of the study, put before the figure's own title.
        grid: defences, attacks and seeds to draw; found in the table if not given. `clean` is
            left out.
        protocol: `full_gallery` or `own_pair`.
        labels: `one_image` or `positives`.
        gallery_images: gallery size to draw; the study's main one if not given.
    """
    part = few(metrics, grid or grid_of(metrics))
    metrics, grid = part.metrics, part.grid
    whole = replace(grid, attacks=tuple(name for name in grid.attacks if name != "clean"))
    grid = within_protocol(metrics, whole, protocol)
    by_definition = {
        metric: select(
            metrics,
            metric=metric,
            protocol=protocol,
            labels=labels,
            gallery_images=gallery_images,
        )
        for metric in DEFINITIONS
    }
    rows = pd.concat(by_definition.values())
    with house_style():
        figure, axes = bar_figure(
            grid,
            rows=len(DEFINITIONS),
            title=titled(title, "attack success rate, by both definitions", resolution(rows)),
            note="lower is better"
            + DOT
            + describe(rows, grid)
            + protocol_note(protocol)
            + DOT
            + f"scored by {labels.replace('_', '-')} labels"
            + elsewhere_note(whole, grid)
            + part.note,
        )
        top, bottom = 0.0, min(100 * rows["low"].min(), 0.0) if rows["low"].notna().any() else 0.0
        for row, (metric, definition) in zip(axes, DEFINITIONS.items(), strict=True):
            for panel, direction in zip(row, DIRECTIONS, strict=True):
                panel_title(panel, f"{direction}: {DIRECTIONS[direction]}", under=definition)
                drawn = draw_bars(panel, by_definition[metric], grid=grid, direction=direction)
                top = max(top, drawn)
        for row, metric in zip(axes, DEFINITIONS, strict=True):
            finish_panels(row, top=top, bottom=bottom, text=AXIS[metric], empty=not grid.defences)
        defence_legend(figure, grid)
    return figure
