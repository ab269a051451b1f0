"""Panels of rows with recall at 1 from left to right, and marks that tell attacks apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mmrobust.figures.notes import missing
from mmrobust.figures.style import MISSING, MUTED, defence_colours

MARKERS = "sD^vPX*"
CHARACTERS = 12.5
"""Characters of a box of missing cells to an inch."""
WHISKER = 0.1
"""Of the width of a row, that such a box keeps from the nearest mean."""


def attack_style(attack: str, attacks: Sequence[str]) -> dict[str, Any]:
    """Colour and marker of an attack, the same in all panels; clean inputs are grey and hollow."""
    if attack == "clean":
        return {"color": MUTED, "marker": "o", "markerfacecolor": "white"}
    others = [name for name in attacks if name != "clean"]
    marker = MARKERS[others.index(attack) % len(MARKERS)]
    return {"color": defence_colours(others)[attack], "marker": marker}


def across(axes: Axes, *, top: float) -> None:
    """Make x recall at 1 in percent to a little over `top`, with a quiet grid, and y bare."""
    axes.set_yticks([])
    axes.set_xlim(-0.02 * top, min(top * 1.06, 104))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.grid(axis="x", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.set_xlabel("recall at 1")


def tell_missing(axes: Axes, y: float, names: Sequence[str], drawn: Sequence[float]) -> None:
    """Name in a row at `y` what is missing, on the side where means `drawn` there leave room."""
    if not names:
        return
    low, high = axes.get_xlim()
    left, right = (min(drawn) - low, high - max(drawn)) if drawn else (0.0, high - low)
    share = max(left, right) / (high - low) - (WHISKER if drawn else 0.0)
    at_right = right >= left
    width = axes.get_position().width * axes.get_figure().get_size_inches()[0]  # type: ignore[union-attr]
    axes.text(
        0.985 if at_right else 0.045,
        y,
        missing(names, room=int(share * width * CHARACTERS)),
        transform=axes.get_yaxis_transform(),
        ha="right" if at_right else "left",
        va="center",
        color=MUTED,
        fontsize=9.5,
        bbox={"facecolor": "white", "edgecolor": MISSING, "linestyle": "--", "pad": 2},
    )
