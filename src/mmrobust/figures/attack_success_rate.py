"""How often an attack succeeds where the model was right before."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from mmrobust.figures.bars import defence_legend, draw_bars, finish_panels, panel_width
from mmrobust.figures.notes import DOT, describe, protocol_note, resolution, titled
from mmrobust.figures.style import house_style, new_figure, panel_title
from mmrobust.figures.table import DIRECTIONS, Grid, grid_of, select


def plot_attack_success_rate(
    metrics: pd.DataFrame,
    *,
    title: str = "",
    grid: Grid | None = None,
    protocol: str = "full_gallery",
    labels: str = "one_image",
    gallery_images: int | None = None,
) -> Figure:
    """Share of the queries answered right on clean inputs that an attack turns wrong.

    Args:
        metrics: rows of `metrics.csv`, as `table.read_metrics` gives them.
        title: name of the study, put before the figure's own title.
        grid: defences, attacks and seeds to draw; found in the table if not given. `clean` is
            left out.
        protocol: `full_gallery` or `own_pair`.
        labels: `one_image` or `positives`.
        gallery_images: gallery size to draw; the study's main one if not given.
    """
    grid = grid or grid_of(metrics)
    grid = replace(grid, attacks=tuple(name for name in grid.attacks if name != "clean"))
    rows = select(
        metrics,
        metric="attack_success_rate",
        protocol=protocol,
        labels=labels,
        gallery_images=gallery_images,
    )
    with house_style():
        figure, axes = new_figure(
            (2 * panel_width(grid), 2.5),
            shape=(1, 2),
            title=titled(
                title, "attack success rate, of queries answered right before", resolution(rows)
            ),
            note="lower is better" + DOT + describe(rows, grid) + protocol_note(protocol),
        )
        top = 0.0
        for panel, direction in zip(axes[0], DIRECTIONS, strict=True):
            panel_title(
                panel,
                f"{direction}: {DIRECTIONS[direction]}",
                under=f"scored by {labels.replace('_', '-')} labels, at rank 1",
            )
            top = max(top, draw_bars(panel, rows, grid=grid, direction=direction))
        finish_panels(axes, top=top, text="attack success rate", empty=not grid.defences)
        defence_legend(figure, grid)
    return figure
