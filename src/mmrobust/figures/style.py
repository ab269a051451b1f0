"""One look for all figures, and one way to write them that gives the same bytes every time."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mmrobust.artifacts import replacing

INK = "#1f2430"
MUTED = "#636b78"
GRID = "#e4e7ec"
MISSING = "#c3c8d1"

TITLE_INCHES, TITLE_LINE_INCHES, NOTE_LINE_INCHES = 0.52, 0.28, 0.2
LEGEND_INCHES, PANEL_TITLE_INCHES = 0.32, 0.5
_ACRONYMS = {name.lower(): name for name in ("MAT", "PGD", "SGA", "TeCoA")}


def label(name: str) -> str:
    """A registry name as a reader expects it: `word_substitution` -> `word substitution`."""
    return " ".join(_ACRONYMS.get(token, token) for token in name.split("_"))


def defence_colours(defences: Sequence[str]) -> dict[str, str]:
    """A colour-blind safe colour for each defence, fixed by its place in the study's order."""
    palette = seaborn.color_palette("colorblind", max(len(defences), 1)).as_hex()
    return dict(zip(defences, palette, strict=False))


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib settings of every figure, whatever the user's own settings are."""
    settings = {
        "font.family": ["DejaVu Sans"],
        "font.size": 10.5,
        "axes.edgecolor": MISSING,
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.titlesize": 11.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlecolor": INK,
        "grid.color": GRID,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": MUTED,
        "legend.frameon": False,
        "figure.facecolor": "white",
        "hatch.color": MISSING,
        "hatch.linewidth": 0.8,
        "svg.hashsalt": "mmrobust",
        "svg.fonttype": "path",
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for name, value in {**seaborn.axes_style("white"), **settings}.items():
            matplotlib.rcParams[name] = value
        yield


def new_figure(
    size: tuple[float, float],
    *,
    shape: tuple[int, int],
    title: str,
    note: str,
    panel_titles: bool = True,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a bold title, a grey note under it and a grid of panels that share y.

    Args:
        size: width and height of the panels' area in inches; the header with title, note and
            legend is added on top.
        shape: rows and columns of panels.
        title: what is drawn; wrapped to the width of the figure.
        note: sample sizes and conditions; wrapped to the width of the figure.
        panel_titles: whether to keep room for `panel_title` over the first row.

    Returns:
        The figure, bound to the Agg canvas (no window, no global state), and its axes by row.
    """
    heading = textwrap.wrap(title, int(size[0] * 7.2))
    lines = textwrap.wrap(note, int(size[0] * 14))
    title_inches = TITLE_INCHES + TITLE_LINE_INCHES * (len(heading) - 1)
    header = title_inches + NOTE_LINE_INCHES * len(lines) + LEGEND_INCHES + 0.2
    header += PANEL_TITLE_INCHES if panel_titles else 0.0
    width, height = size[0], size[1] + header
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    rows, columns = shape
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    figure.subplots_adjust(
        left=0.75 / width,
        right=1 - 0.2 / width,
        bottom=0.5 / height,
        top=1 - header / height,
        wspace=0.08,
        hspace=0.48,
    )
    figure.text(
        0.2 / width,
        1 - 0.12 / height,
        "\n".join(heading),
        fontsize=16,
        weight="bold",
        va="top",
        ha="left",
    )
    figure.text(
        0.2 / width,
        1 - (title_inches - 0.02) / height,
        "\n".join(lines),
        fontsize=9.5,
        color=MUTED,
        va="top",
        ha="left",
        linespacing=1.45,
    )
    return figure, np.asarray(axes).tolist()


def panel_title(axes: Axes, title: str, *, under: str) -> None:
    """A bold title over a panel, with a quieter line between title and panel."""
    axes.set_title(title, pad=24)
    axes.annotate(
        under,
        (0, 1),
        xytext=(0, 10),
        xycoords="axes fraction",
        textcoords="offset points",
        color=MUTED,
        fontsize=9.5,
    )


def percent_axis(axes: Axes, *, top: float, text: str | None) -> None:
    """Make y a percentage from 0 to a little over `top` (in percent) with a quiet grid."""
    axes.set_ylim(0, min(max(top * 1.12, 1.0), 108))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.grid(axis="y", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    if text:
        axes.set_ylabel(text)


def save_figure(figure: Figure, path_stem: Path) -> tuple[Path, Path]:
    """Write `figure` as `<path_stem>.png` (160 dpi) and `<path_stem>.svg`, atomically.

    Dates, software names and random element ids are left out, so that the same figure gives
    the same bytes.

    Returns:
        The paths of the PNG and of the SVG.
    """
    png = path_stem.with_name(path_stem.name + ".png")
    svg = path_stem.with_name(path_stem.name + ".svg")
    with house_style():
        with replacing(png) as temporary:
            figure.savefig(temporary, format="png", dpi=160, metadata={"Software": None})
        with replacing(svg) as temporary:
            # no creator either: it would name the version of matplotlib
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
    return png, svg
