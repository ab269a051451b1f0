"""What figures must know of sweeps: whose rows are a study's own, and what sets were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mmrobust.errors import UserError
from mmrobust.sweep_table import Point

Measures = Mapping[tuple[str, int, str], float]
"""What was measured, by augmentation, number of an item's augmentations, and measure."""


def own_rows(table: pd.DataFrame, points: Sequence[Point]) -> pd.DataFrame:
    """Rows of the defences that the study writes; those that sweeps laid out are left out.

    A defence that is varied stays: it is a point of its sweep where it has one of the values.
    """
    return table[~table["defence"].isin(laid_out(points))]


def laid_out(points: Sequence[Point]) -> set[str]:
    """Names of the defences that sweeps laid out."""
    return {point.defence for point in points} - {point.base for point in points}


def read_measures(path: Path) -> Measures:
    """The values of `augmentations.csv` that are defined; none if there is no such file.

    Raises:
        UserError: not a table, a column is missing, or text stands where a number must.
    """
    if not path.is_file():
        return {}
    key = ["augmentation", "n", "measure"]
    types = {"augmentation": str, "n": int, "measure": str, "value": float}
    try:
        table = pd.read_csv(
            path, usecols=list(types), dtype=types, keep_default_na=False, na_values={"value": [""]}
        )
    except ValueError as error:  # also of pandas' parser
        raise UserError(f"{path}: not a table of measured augmentations ({error})") from None
    table = table.dropna(subset=["value"])
    return dict(zip(table[key].itertuples(index=False, name=None), table["value"], strict=True))
