"""Recall at 1 by defence and attack: the figure that a study is run for."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmrobust.figures.bars import defence_legend, draw_bars, finish_panels, panel_width
from mmrobust.figures.notes import describe, protocol_note, resolution, titled
from mmrobust.figures.style import MUTED, house_style, new_figure, panel_title
from mmrobust.figures.table import DIRECTIONS, Grid, grid_of, select

LABEL_WORDS = {
    "one_image": "one-image labels: only pairs of the dataset are right",
    "positives": "positives matrix: every true pair is right",
}


def plot_recall_by_defence(
    metrics: pd.DataFrame,
    *,
    title: str = "",
    grid: Grid | None = None,
    protocol: str = "full_gallery",
    gallery_images: int | None = None,
) -> Figure:
    """Recall at 1 of every defence under every attack, with intervals.

    Columns are the directions. The first row scores by one-image labels; a second row scores by
    the positives matrix where that makes a difference. The dotted line is chance.

    Args:
        metrics: rows of `metrics.csv`, as `table.read_metrics` gives them.
        title: name of the study, put before the figure's own title.
        grid: defences, attacks and seeds to draw; found in the table if not given.
        protocol: `full_gallery` or `own_pair`.
        gallery_images: gallery size to draw; the study's main one if not given.
    """
    grid = grid or grid_of(metrics)
    scored = {
        labels: select(
            metrics,
            metric="recall_at_k",
            protocol=protocol,
            labels=labels,
            gallery_images=gallery_images,
        )
        for labels in LABEL_WORDS
    }
    if _same_outcome(scored["one_image"], scored["positives"]):
        del scored["positives"]
    with house_style():
        figure, axes = new_figure(
            (2 * panel_width(grid), 2.5 + 3.0 * (len(scored) - 1)),
            shape=(len(scored), 2),
            title=titled(
                title, "recall at 1 by defence and attack", resolution(scored["one_image"])
            ),
            note=describe(scored["one_image"], grid) + protocol_note(protocol),
        )
        top = 0.0
        for row, (labels, rows) in zip(axes, scored.items(), strict=True):
            for panel, direction in zip(row, DIRECTIONS, strict=True):
                panel_title(
                    panel, f"{direction}: {DIRECTIONS[direction]}", under=LABEL_WORDS[labels]
                )
                top = max(top, draw_bars(panel, rows, grid=grid, direction=direction))
                if labels == "one_image":
                    _draw_chance(panel, rows)
        finish_panels(axes, top=top, text="recall at 1", empty=not grid.defences)
        defence_legend(figure, grid, [_chance_handle()] if top else [])
    return figure


def _draw_chance(axes: Axes, rows: pd.DataFrame) -> None:
    if not rows.empty:
        # a query's own image or captions are this share of what is ranked
        share = 100 / float(rows["gallery_images"].iloc[0])
        chance = axes.axhline(share, color=MUTED, linestyle=":", linewidth=1.3)
        chance.set_gid("chance")


def _chance_handle() -> Line2D:
    return Line2D([], [], color=MUTED, linestyle=":", linewidth=1.3, label="chance")


def _same_outcome(one_image: pd.DataFrame, positives: pd.DataFrame) -> bool:
    key = ["defence", "seed", "attack", "direction"]
    first, second = (rows.set_index(key)["value"].sort_index() for rows in (one_image, positives))
    return positives.empty or first.equals(second)
