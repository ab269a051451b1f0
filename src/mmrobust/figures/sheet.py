"""Pictures, captions and ranks put on a figure at inches from its upper left corner."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

from mmrobust.figures.style import INK, MISSING, MUTED

PICTURE = 1.3
"""Side of a picture in inches."""
POINTS = 9.0
CHARACTER = 0.602 * POINTS / 72
"""Width in inches of a character of DejaVu Sans Mono."""
LOST, NEW = "#b3261e", "#ffe08a"

Word = tuple[str, str]
"""A word before and after the attack."""


class Sheet:
    """A figure on which things are put at inches from its left and upper edge."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.width, self.height = figure.get_size_inches()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Figure coordinates of a place in inches."""
        return x / self.width, 1 - y / self.height

    def text(
        self, x: float, y: float, text: str, *, color: str = INK, size: float = POINTS, **style: Any
    ) -> None:
        """Text with its baseline at y."""
        self.figure.text(*self.at(x, y), text, color=color, fontsize=size, **style)

    def rule(self, y: float) -> None:
        """A quiet line across the page."""
        ends = [self.at(0.2, y), self.at(self.width - 0.2, y)]
        self._line([end[0] for end in ends], [end[1] for end in ends], MISSING, 1.0)

    def _line(self, xs: list[float], ys: list[float], colour: str, width: float) -> None:
        line = Line2D(xs, ys, color=colour, linewidth=width, transform=self.figure.transFigure)
        self.figure.add_artist(line)

    def _box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        corner = self.at(x, y + height)
        self.figure.add_artist(
            Rectangle(
                corner,
                width / self.width,
                height / self.height,
                color=colour,
                linewidth=0,
                transform=self.figure.transFigure,
            )
        )

    def swatch(self, x: float, y: float, colour: str) -> None:
        """The colour of a defence."""
        self._box(x, y, 0.14, 0.13, colour)

    def picture(self, x: float, y: float, png: bytes) -> None:
        """A PNG in a square with its upper left corner at (x, y)."""
        left, lower = self.at(x, y + PICTURE)
        axes = self.figure.add_axes((left, lower, PICTURE / self.width, PICTURE / self.height))
        with Image.open(io.BytesIO(png)) as image:
            # pixels as they are: a small picture must not be smoothed
            axes.imshow(np.asarray(image.convert("RGB")), interpolation="none")
        axes.set_axis_off()

    def ranks(self, right: float, y: float, before: int, after: int) -> None:
        """Rank before and after, in red where the right answer was lost."""
        lost = before == 1 < after
        self.text(
            right,
            y,
            f"rank {before} → {after}",
            ha="right",
            color=LOST if lost else MUTED,
            weight="bold" if lost else "normal",
        )

    def words(self, x: float, y: float, words: Sequence[Word]) -> None:
        """A line of a caption; replaced words struck out before what replaced them."""
        plain = ""
        at, start = 0, 0
        for before, after in words:
            if before == after:
                plain += before + " "
                at += len(before) + 1
                continue
            self._mono(x, y, start, plain)
            if before:
                self._mono(x, y, at, before, colour=MUTED)
                left = x + at * CHARACTER
                ends = [
                    self.at(left, y - 0.035),
                    self.at(left + len(before) * CHARACTER, y - 0.035),
                ]
                self._line([end[0] for end in ends], [end[1] for end in ends], LOST, 1.1)
                at += len(before) + 1
            if after:
                width = len(after) * CHARACTER
                self._box(x + at * CHARACTER - 0.02, y - 0.125, width + 0.04, 0.17, NEW)
                self._mono(x, y, at, after)
                at += len(after) + 1
            plain, start = "", at
        self._mono(x, y, start, plain)

    def _mono(self, x: float, y: float, at: int, text: str, *, colour: str = INK) -> None:
        if text.strip():
            at_x = x + at * CHARACTER
            self.text(at_x, y, text.rstrip(), color=colour, fontfamily=["DejaVu Sans Mono"])
