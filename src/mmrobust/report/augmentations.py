"""Augmented training sets as the report tells them: one row a set, all its items counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmrobust.errors import UserError
from mmrobust.report.rows import read_rows

COLUMNS = ("augmentation", "method", "n", "modality", "measure", "value", "low", "high")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measure of a set, None where undefined, and its interval, if it has one, over items."""

    value: float | None
    low: float | None
    high: float | None
    items: int


Estimates = Mapping[tuple[str, int, str], Estimate]
"""By augmentation, number of an item's augmentations, and measure."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of one augmented set; a measure that is undefined is None."""

    name: str
    method: str
    modality: str
    n: int
    measures: Mapping[str, float | None]

    @property
    def an_item(self) -> str:
        """How many of what an item has."""
        noun = "caption" if self.modality == "caption" else "picture"
        return f"{self.n} {noun}{'' if self.n == 1 else 's'}"

    def of(self, measure: str) -> float | None:
        """A measure by name; None also where the set has no such measure."""
        return self.measures.get(measure)


def read_augmentations(path: Path) -> list[Measured]:
    """The sets of `augmentations.csv`, in its order; none if there is no such file.

    Raises:
        UserError: not a table, a column is missing, or a value can't be what it stands for.
    """
    found: dict[str, Measured] = {}
    for line, row in enumerate(read_rows(path, COLUMNS) or [], start=2):
        try:
            n, value = int(row["n"]), float(row["value"]) if row["value"] else None
        except ValueError as error:
            raise UserError(f"{path}: line {line}: {error}") from None
        name, before = row["augmentation"], found.get(row["augmentation"])
        measures = dict(before.measures) if before is not None and before.n == n else {}
        if before is None or n >= before.n:  # rows with fewer augmentations come first
            found[name] = Measured(
                name=name,
                method=row["method"],
                modality=row["modality"],
                n=n,
                measures={**measures, row["measure"]: value},
            )
    return list(found.values())


def read_estimates(path: Path) -> Estimates:
    """Every measure of `augmentations.csv` with its interval; none if there is no such file.

    Raises:
        UserError: not a table, a column is missing, or a value can't be what it stands for.
    """
    found = {}
    for line, row in enumerate(read_rows(path, (*COLUMNS, "items")) or [], start=2):
        try:
            value, low, high = (
                float(row[key]) if row[key] else None for key in ("value", "low", "high")
            )
            key = (row["augmentation"], int(row["n"]), row["measure"])
            found[key] = Estimate(value=value, low=low, high=high, items=int(row["items"]))
        except ValueError as error:
            raise UserError(f"{path}: line {line}: {error}") from None
    return found
