"""The verb `compare`: two runs of a study beside each other, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mmrobust.artifacts import replacing
from mmrobust.errors import UserError
from mmrobust.figures.table import CELL, MEASURE, read_metrics

KEY = [*CELL, *MEASURE, "gallery_images"]
OF_RECORD = Path("docs/reference_results")
"""Folder of the results of record, from where the command is given."""
TABLES = ("metrics.csv", "metrics.csv.gz")
AGREEMENTS = ("same", "overlap", "apart", "undefined", "only here", "only there")
"""Equal to the last digit; intervals that overlap; intervals that don't; a value that one of the
runs doesn't have; a cell that one of the runs doesn't have."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Every measure that either run has: key columns, both values with intervals, agreement."""

    table: pd.DataFrame

    def counts(self) -> dict[str, int]:
        """How many measures agree how, those that occur."""
        found = self.table["agreement"].value_counts()
        return {name: int(found[name]) for name in AGREEMENTS if name in found}

    def lines(self, *, metric: str, k: int) -> Iterator[str]:
        """One line a cell of one metric, in percent, and one that counts all measures."""
        chosen = self.table[(self.table["metric"] == metric) & (self.table["k"] == k)]
        for row in chosen.to_dict("records"):
            where = f"{row['defence']}/seed{row['seed']:.0f}/{row['attack']}"
            how = f"{row['protocol']}, {row['labels']}, galleries of {row['gallery_images']:.0f}"
            here, there = (_percent(row, side) for side in ("here", "there"))
            yield f"{where} {row['direction']} ({how}): {here} | {there} | {row['agreement']}"
        told = ", ".join(f"{number} {name}" for name, number in self.counts().items())
        yield f"all measures: {told}"


def compare(here: Path, there: Path | None = None) -> Comparison:
    """Set a run beside another, or beside the numbers of record.

    Intervals are about the test images of each run and say nothing of training: two seeds may lie
    apart without a mistake.

    Args:
        here: folder of a run, or its `metrics.csv`.
        there: of the other, compressed or not; the folder of record of the same study if left out.

    Raises:
        UserError: a file is missing or no table of metrics.
    """
    if there is None:
        there = OF_RECORD / (here if here.is_dir() else here.parent).resolve().name
        if not there.is_dir():
            raise UserError(f"{there}: no results of record to compare {here} with; name another")
    columns = [*KEY, "value", "low", "high", "n"]
    paths = [_table_of(path) for path in (here, there)]
    sides = [read_metrics(path)[columns].reset_index(names="row") for path in paths]
    both = sides[0].merge(
        sides[1], on=KEY, how="outer", suffixes=("_here", "_there"), indicator=True
    )
    # A merge of all sorts by key; the order is that of the run, and then that of the other.
    both = both.sort_values(["row_here", "row_there"], ignore_index=True)
    both["agreement"] = [_agreement(row) for row in both.to_dict("records")]
    return Comparison(table=both.drop(columns=["_merge", "row_here", "row_there"]))


def _table_of(path: Path) -> Path:
    """The table of metrics of a folder; a file is one itself."""
    if not path.is_dir():
        return path
    found = [path / name for name in TABLES if (path / name).is_file()]
    if not found:
        raise UserError(f"{path}: no table of metrics (wanted: {' or '.join(TABLES)})")
    return found[0]


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Write the whole table as CSV."""
    with replacing(path) as temporary:
        comparison.table.to_csv(temporary, index=False, lineterminator="\n")


def _agreement(row: dict[object, object]) -> str:
    if row["_merge"] != "both":
        return "only here" if row["_merge"] == "left_only" else "only there"
    here, there = (float(str(row[f"value_{side}"])) for side in ("here", "there"))
    if here != here or there != there:  # NaN
        return "same" if here != here and there != there else "undefined"
    if here == there and row["n_here"] == row["n_there"]:
        return "same"
    low = max(float(str(row["low_here"])), float(str(row["low_there"])))
    high = min(float(str(row["high_here"])), float(str(row["high_there"])))
    return "overlap" if low <= high else "apart"


def _percent(row: dict[object, object], side: str) -> str:
    value, low, high = (float(str(row[f"{name}_{side}"])) for name in ("value", "low", "high"))
    return "-" if value != value else f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
