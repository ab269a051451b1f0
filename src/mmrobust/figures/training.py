"""Training loss of every defence, to see at a glance whether training went as it should."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from mmrobust.figures.bars import defence_legend
from mmrobust.figures.notes import titled
from mmrobust.figures.style import MUTED, defence_colours, house_style, new_figure
from mmrobust.figures.table import Grid

SMOOTHED_SHARE = 0.02


def plot_training_history(
    history: pd.DataFrame, *, grid: Grid, title: str = "", source_resolution: str = ""
) -> Figure:
    """Running median of the training loss over steps, one line a model.

    The losses of different defences are of different inputs (clean or attacked), so only the
    shape of a line says something, not its height beside another.

    Args:
        history: columns defence, seed, step, loss.
        grid: defences in the study's order, which fixes their colours.
        title: name of the study.
        source_resolution: `WxH` of the stored photographs that were trained on, or empty.
    """
    colours = defence_colours(grid.defences)
    with house_style():
        figure, axes = new_figure(
            (11.6, 2.3),
            shape=(1, 1),
            panel_titles=False,
            title=titled(title, "training loss", source_resolution),
            note="running median over 2 % of the steps, a line for every model and seed · each "
            "defence is trained on its own inputs, clean or attacked, so heights do not compare",
        )
        panel = axes[0][0]
        for (defence, _), run in history.groupby(["defence", "seed"], sort=True):
            run = run.sort_values("step")
            window = max(1, int(len(run) * SMOOTHED_SHARE))
            smooth = run["loss"].rolling(window, min_periods=1, center=True).median()
            panel.plot(run["step"], smooth, color=colours.get(str(defence), MUTED), linewidth=1.6)
        panel.grid(axis="y", linewidth=0.8)
        panel.tick_params(length=0)
        panel.set_xlabel("step")
        panel.set_ylabel("loss")
        panel.margins(x=0.01)
        defence_legend(figure, grid)
    return figure
