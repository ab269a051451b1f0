"""Training loss of every defence, to see at a glance whether training went as it should."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmrobust.figures.bars import defence_legend
from mmrobust.figures.few import MOST
from mmrobust.figures.notes import titled
from mmrobust.figures.style import (
    MUTED,
    blank_figure,
    defence_colours,
    house_style,
    label,
    new_figure,
)
from mmrobust.figures.table import Grid

SMOOTHED_SHARE = 0.02
COLUMNS = 6
LINE = "#0173b2"
NOTE = (
    "running median over 2 % of the steps, a line for every model and seed · each "
    "defence is trained on its own inputs, clean or attacked, so heights do not compare"
)


def plot_training_history(
    history: pd.DataFrame, *, grid: Grid, title: str = "", source_resolution: str = ""
) -> Figure:
    """Running median of the training loss over steps, one line a model.

    More defences than colours tell apart have a small panel each.

    The losses of different defences are of different inputs (clean or attacked), so only the
    shape of a line says something, not its height beside another.

    Args:
        history: columns defence, seed, step, loss.
        grid: defences in the study's order, which fixes their colours.
        title: name of the study.
        source_resolution: `WxH` of the stored photographs that were trained on, or empty.
    """
    heading = titled(title, "training loss", source_resolution)
    with house_style():
        if len(grid.defences) > MOST:
            return _apart(history, grid, heading)
        colours = defence_colours(grid.defences)
        figure, axes = new_figure(
            (11.6, 2.3), shape=(1, 1), panel_titles=False, title=heading, note=NOTE
        )
        panel = axes[0][0]
        for (defence, _), run in history.groupby(["defence", "seed"], sort=True):
            _draw(panel, run, colours.get(str(defence), MUTED), 1.6)
        _prepare(panel)
        panel.set_xlabel("step")
        panel.set_ylabel("loss")
        defence_legend(figure, grid)
    return figure


def _apart(history: pd.DataFrame, grid: Grid, heading: str) -> Figure:
    """A small panel a defence, in the study's order: more than colours tell apart."""
    rows = math.ceil(len(grid.defences) / COLUMNS)
    bottom, over = 0.5, 0.35
    figure, header = blank_figure(
        (11.6, rows * (1.0 + bottom + over)), title=heading, note=NOTE, legend=False
    )
    width, height = figure.get_size_inches()
    axes = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(
        left=0.75 / width,
        right=1 - 0.2 / width,
        bottom=bottom / height,
        top=1 - (header + over) / height,
        wspace=0.1,
        hspace=bottom + over,
    )
    panels = list(axes.flat)
    for panel, defence in zip(panels, grid.defences, strict=False):
        for _, run in history[history["defence"] == defence].groupby("seed", sort=True):
            _draw(panel, run, LINE, 1.1)
        _prepare(panel)
        panel.set_title(label(defence), fontsize=10)
        panel.tick_params(labelsize=9)
        lowest = panels.index(panel) + COLUMNS >= len(grid.defences)
        panel.tick_params(labelbottom=lowest)
        if lowest:
            panel.set_xlabel("step", fontsize=9.5)
        if panel.get_subplotspec().is_first_col():
            panel.set_ylabel("loss")
    # the last number of a panel would meet the first of the next
    panels[0].xaxis.set_major_locator(MaxNLocator(nbins=3, prune="upper", integer=True))
    for panel in panels[len(grid.defences) :]:
        panel.set_visible(False)
    return figure


def _draw(axes: Axes, run: pd.DataFrame, colour: str, width: float) -> None:
    run = run.sort_values("step")
    window = max(1, int(len(run) * SMOOTHED_SHARE))
    smooth = run["loss"].rolling(window, min_periods=1, center=True).median()
    axes.plot(run["step"], smooth, color=colour, linewidth=width)


def _prepare(axes: Axes) -> None:
    axes.grid(axis="y", linewidth=0.8)
    axes.tick_params(length=0)
    axes.margins(x=0.01)
