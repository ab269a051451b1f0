"""One look for all figures, and one way to write them that gives the same bytes every time."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mmrobust.artifacts import replacing, together

INK = "#1f2430"
MUTED = "#636b78"
GRID = "#e4e7ec"
MISSING = "#c3c8d1"

TITLE_INCHES, TITLE_LINE_INCHES, NOTE_LINE_INCHES = 0.52, 0.28, 0.2
LEGEND_INCHES, PANEL_TITLE_INCHES = 0.32, 0.5
DARKER = 0.6
OWN_COLOURS = ("standard", "tecoa", "leaf", "mat", "mat_plus")
"""Defences that look the same in every study, by their colour's place in the palette."""
_SPELLINGS = {
    **{
        name.lower(): name
        for name in (
            *("APGD", "DRA", "EDA", "FARE", "FGSM", "LEAF", "MAT", "MMCoA", "PGD", "RandAugment"),
            *("SGA", "TeCoA", "TRADES"),
        )
    },
    "bert_attack": "BERT-Attack",
    "co_attack": "Co-Attack",
    "di_fgsm": "DI-FGSM",
    "mat_plus": "MAT+",
    "mi_fgsm": "MI-FGSM",
    "pmg_aft": "PMG-AFT",
    "sep_attack": "Sep-Attack",
}
_POINT = re.compile(r"(.*?)(?:_((?:eps|words)_[0-9][0-9p]*(?:_[0-9]+)?))?")
_EPS = re.compile(r"_([0-9][0-9p]*)_255$")
_SPELT = re.compile(
    rf"(?<![a-z0-9])({'|'.join(sorted(_SPELLINGS, key=len, reverse=True))})(?![a-z0-9])"
)


def label(name: str) -> str:
    """A name as a reader expects it: `word_substitution` -> `word substitution`.

    Points of curves say their budget: `pgd_eps_0p5_255` -> `PGD, eps 0.5/255`. A budget at the
    end of a name is a fraction: `sga_4_255` -> `SGA 4/255`.
    """
    name, point = _POINT.fullmatch(name).groups()  # type: ignore[union-attr]
    if point:
        kind, _, value = point.partition("_")
        value = value.replace("_", "/").replace("p", ".")
        many = "" if value == "1" else "s"
        return f"{label(name)}, " + (f"eps {value}" if kind == "eps" else f"{value} word{many}")
    name = _EPS.sub(lambda found: f"_{found[1].replace('p', '.')}/255", name)
    return _SPELT.sub(lambda found: _SPELLINGS[found[0]], name).replace("_", " ")


def defence_colours(defences: Sequence[str]) -> dict[str, str]:
    """A colour for each defence: its own, or the next that no other has.

    The first ten are colour-blind safe; every further ten are the same colours, darker.
    """
    palette = np.asarray(seaborn.color_palette("colorblind", 10))
    own = {name: place for place, name in enumerate(OWN_COLOURS) if name in defences}
    free = (place for place in itertools.count() if place not in own.values())
    places = {name: own[name] if name in own else next(free) for name in defences}
    return {
        name: to_hex(palette[place % 10] * DARKER ** (place // 10))
        for name, place in places.items()
    }


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
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for name, value in {**seaborn.axes_style("white"), **settings}.items():
            matplotlib.rcParams[name] = value
        yield


def blank_figure(
    size: tuple[float, float], *, title: str, note: str, legend: bool = True
) -> tuple[Figure, float]:
    """A figure with a bold title, a grey note under it, and room for a legend.

    Args:
        size: width in inches, and height of what comes under the header.
        title: what is drawn; wrapped to the width of the figure.
        note: sample sizes and conditions; wrapped to the width of the figure.
        legend: whether to keep room for a legend.

    Returns:
        The figure, bound to the Agg canvas (no window, no global state), and the height of its
        header in inches.
    """
    heading = textwrap.wrap(title, int(size[0] * 7.2))
    lines = textwrap.wrap(note, int(size[0] * 14))
    title_inches = TITLE_INCHES + TITLE_LINE_INCHES * (len(heading) - 1)
    header = title_inches + NOTE_LINE_INCHES * len(lines) + 0.2 + (LEGEND_INCHES if legend else 0)
    width, height = size[0], size[1] + header
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    corner: dict[str, Any] = {"x": 0.2 / width, "va": "top", "ha": "left"}
    figure.text(y=1 - 0.12 / height, s="\n".join(heading), fontsize=16, weight="bold", **corner)
    figure.text(
        y=1 - (title_inches - 0.02) / height,
        s="\n".join(lines),
        fontsize=9.5,
        color=MUTED,
        linespacing=1.45,
        **corner,
    )
    return figure, header


def new_figure(
    size: tuple[float, float],
    *,
    shape: tuple[int, int],
    title: str,
    note: str,
    panel_titles: bool = True,
    left: float = 0.75,
    right: float = 0.2,
    bottom: float = 0.5,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with title, note, legend room and a grid of panels that share y.

    Args:
        size: width and height of the panels' area in inches; the header with title, note and
            legend is added on top.
        shape: rows and columns of panels.
        title: what is drawn.
        note: sample sizes and conditions.
        panel_titles: whether to keep room for `panel_title` over every row.
        left: inches for what stands left of the panels.
        right: inches right of them.
        bottom: inches under each row for the ticks and names of its x axis.

    Returns:
        The figure and its axes by row.
    """
    over = PANEL_TITLE_INCHES if panel_titles else 0.0
    figure, header = blank_figure((size[0], size[1] + over), title=title, note=note)
    width, height = figure.get_size_inches()
    rows, columns = shape
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    gap = bottom + over
    panel = (size[1] - bottom - gap * (rows - 1)) / rows
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - (header + over) / height,
        wspace=0.08,
        hspace=gap / panel,
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


def make_room(figure: Figure, inches: float) -> None:
    """Make a figure of `new_figure` higher between its note and its panels, which stay as large."""
    width, before = figure.get_size_inches()
    after = before + inches
    place = figure.subplotpars
    bottom, top = place.bottom * before / after, 1 - ((1 - place.top) * before + inches) / after
    figure.set_size_inches(width, after)
    figure.subplots_adjust(bottom=bottom, top=top)
    for text in figure.texts:
        text.set_y(1 - (1 - text.get_position()[1]) * before / after)


def percent_axis(axes: Axes, *, top: float, text: str | None, bottom: float = 0.0) -> None:
    """Make y a percentage from `bottom`, at most 0, to a little over `top`, with a quiet grid."""
    axes.set_ylim(bottom * 1.12, min(max(top * 1.12, 1.0), 108))
    if bottom < 0:
        axes.axhline(0, color=MISSING, linewidth=1.2, zorder=0.9)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.grid(axis="y", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    if text:
        axes.set_ylabel(text)


def save_figure(
    figure: Figure, path_stem: Path, *, text_as_text: bool = False
) -> tuple[Path, Path]:
    """Write `figure` as `<path_stem>.png` (160 dpi) and `<path_stem>.svg`, atomically.

    Dates, software names and random element ids are left out, so that the same figure gives
    the same bytes.

    Args:
        figure: what is written.
        path_stem: path without the suffix.
        text_as_text: keep words in the SVG as text, which can be searched and takes the fonts of
            the reader's system, and not as outlines, which look the same everywhere.

    Returns:
        The paths of the PNG and of the SVG.
    """
    png = path_stem.with_name(path_stem.name + ".png")
    svg = path_stem.with_name(path_stem.name + ".svg")
    with house_style(), together():
        with replacing(png) as temporary:
            figure.savefig(temporary, format="png", dpi=160, metadata={"Software": None})
        with replacing(svg) as temporary:
            temporary.write_bytes(svg_of(figure, text_as_text=text_as_text))
    return png, svg


def svg_of(figure: Figure, *, text_as_text: bool = False) -> bytes:
    """`figure` as an SVG; text is drawn as paths unless it is to stay text."""
    stream = io.BytesIO()
    with house_style():
        matplotlib.rcParams["svg.fonttype"] = "none" if text_as_text else "path"
        # no creator either: it would name the version of matplotlib
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()
