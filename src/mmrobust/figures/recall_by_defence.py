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
from mmrobust.figures.few import MOST
from mmrobust.figures.notes import DOT, describe, elsewhere_note, protocol_note, resolution, titled
from mmrobust.figures.recall_rows import draw_rows
from mmrobust.figures.style import house_style, panel_title
from mmrobust.figures.table import DIRECTIONS, Grid, grid_of, select, within_protocol

LABEL_WORDS = {
    "one_image": "one-image labels: only pairs of the dataset are right",
    "positives": "positives matrix: every true pair is right",
}

KEY = ["defence", "seed", "attack", "direction"]


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
    the positives matrix where that makes a difference. The dotted line is chance. More defences
    than colours tell apart get a row each in place of bars, by one-image labels alone.

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
    note = (
        describe(scored["one_image"], grid) + protocol_note(protocol) + elsewhere_note(whole, grid)
    )
    what = "recall at 1 by defence and attack"
    if len(grid.defences) > MOST:
        note += f"{DOT}scored by one-image labels"
        if "positives" in scored:
            note += _elsewhere_by_positives(scored["one_image"], scored["positives"])
        with house_style():
            return draw_rows(scored["one_image"], grid, title=title, what=what, note=note)
    with house_style():
        figure, axes = bar_figure(
            grid,
            rows=len(scored),
            title=titled(title, what, resolution(scored["one_image"])),
            note=note,
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
    first, second = (rows.set_index(KEY)["value"].sort_index() for rows in (one_image, positives))
    return positives.empty or first.equals(second)


def _elsewhere_by_positives(one_image: pd.DataFrame, positives: pd.DataFrame) -> str:
    """That the tables have another scoring, and how far its means stand from those drawn."""
    of_cell = [name for name in KEY if name != "seed"]
    first, second = (rows.groupby(of_cell)["value"].mean() for rows in (one_image, positives))
    points = 100 * float((first - second).abs().max())
    return (
        f"{DOT}by the positives matrix, in the tables, means differ by at most {points:.1f} points"
    )
