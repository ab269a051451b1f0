"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; what stands in a cell stays in it, whatever its signs."""
    lines = [_line(head), "|" + "---|" * len(head), *(_line(row) for row in rows)]
    return "\n".join(lines)


def crossed(
    corner: tuple[str, str],
    down: Sequence[str],
    across: Sequence[str],
    cells: Sequence[Sequence[str]],
) -> str:
    """A table of two sides, the longer of which goes down.

    Args:
        corner: what `down` and `across` are.
        down: names of the rows of `cells`.
        across: names of its columns.
        cells: `(down, across)`.
    """
    if len(across) > len(down):
        corner, down, across = (corner[1], corner[0]), across, down
        cells = list(zip(*cells, strict=True))
    rows = [[name, *row] for name, row in zip(down, cells, strict=True)]
    return table([corner[0], *across], rows)


def code(name: str) -> str:
    """A name as it stands in configurations and tables."""
    return f"`{name}`"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
