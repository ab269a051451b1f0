"""As many defences as a figure can tell apart by colour, where a study has more."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from mmrobust.figures.notes import DOT
from mmrobust.figures.table import Grid

MOST = 8
"""How many defences a figure tells apart by colour."""


@dataclass(frozen=True, kw_only=True)
class Few:
    """What is drawn of a study.

    Fields:
        metrics: rows of the drawn defences.
        grid: the drawn defences, and the attacks that are run on any of them.
        note: which defences are left out, to be put after `describe`; empty for none.
    """

    metrics: pd.DataFrame
    grid: Grid
    note: str = ""


def few(metrics: pd.DataFrame, grid: Grid) -> Few:
    """The defences that the most attacks are run on, of equals the first, in the study's order.

    Points of curves count as attacks. Every figure that tells defences apart by colour draws the
    same ones, so that each keeps its own. A study of at most `MOST` is left as it is.
    """
    if len(grid.defences) <= MOST:
        return Few(metrics=metrics, grid=grid)
    cells = {*grid.attacks, *grid.only}
    # sorting is stable: equals keep the study's order
    ranked = sorted(grid.defences, key=lambda of: -sum(grid.has(of, cell) for cell in cells))
    chosen = tuple(name for name in grid.defences if name in ranked[:MOST])
    attacks = tuple(name for name in grid.attacks if any(grid.has(of, name) for of in chosen))
    return Few(
        metrics=metrics[metrics["defence"].isin(chosen)],
        grid=replace(grid, defences=chosen, attacks=attacks),
        note=f"{DOT}of {len(grid.defences)} defences, the {MOST} that most attacks are run on (of "
        "equals the first); the others stand in the tables",
    )
