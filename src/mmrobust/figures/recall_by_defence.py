"""Recall at 1 by defence and attack: the figure that a study is run for."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from mmrobust.figures.bars import (
    bar_figure,
    chance_handle,
    defence_legend,
    draw_bars,
    draw_chance,
    finish_panels,
)
from mmrobust.figures.notes import describe, elsewhere_note, protocol_note, resolution, titled
from mmrobust.figures.style import house_style, panel_title
from mmrobust.figures.table import DIRECTIONS, Grid, grid_of, select, within_protocol

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
    whole = grid or grid_of(metrics)
    grid = within_protocol(metrics, whole, protocol)
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
        figure, axes = bar_figure(
            grid,
            rows=len(scored),
            title=titled(
                title, "recall at 1 by defence and attack", resolution(scored["one_image"])
            ),
            note=describe(scored["one_image"], grid)
            + protocol_note(protocol)
            + elsewhere_note(whole, grid),
        )
        top = 0.0
        for row, (labels, rows) in zip(axes, scored.items(), strict=True):
            for panel, direction in zip(row, DIRECTIONS, strict=True):
                panel_title(
                    panel, f"{direction}: {DIRECTIONS[direction]}", under=LABEL_WORDS[labels]
                )
                top = max(top, draw_bars(panel, rows, grid=grid, direction=direction))
                if labels == "one_image":
                    draw_chance(panel, rows)
        finish_panels(figure.axes, top=top, text="recall at 1", empty=not grid.defences)
        defence_legend(figure, grid, [chance_handle()] if top else [])
    return figure


def _same_outcome(one_image: pd.DataFrame, positives: pd.DataFrame) -> bool:
    key = ["defence", "seed", "attack", "direction"]
    first, second = (rows.set_index(key)["value"].sort_index() for rows in (one_image, positives))
    return positives.empty or first.equals(second)
