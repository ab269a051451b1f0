"""The verb `compare`: two runs of a study beside each other, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mmrobust.artifacts import replacing
from mmrobust.errors import UserError, unknown_name
from mmrobust.figures.table import CELL, MEASURE, read_metrics

KEY = [*CELL, *MEASURE, "gallery_images"]
OF_RECORD = Path("docs/reference_results")
"""Folder of the results of record, from where the command is given."""
TABLES = ("metrics.csv", "metrics.csv.gz")
SETTING = (
    *("dataset", "source_resolution", "images", "captions", "attacked_images", "gallery_captions"),
    *("attack_method", "knowledge", "source", "image_norm", "image_eps", "text_words"),
    *("text_characters", "keeps_truth", "worst_case", "curve", "confidence"),
)
"""What the tables tell of the data, the threat model and the interval behind a measure."""
AGREEMENTS = (
    *("same", "overlap", "apart", "undefined", "another setting", "only here", "only there"),
)
"""Equal to the last digit, intervals too; intervals that overlap; intervals that don't; a value
that one of the runs doesn't have; other data, another threat model or confidence under the same
name; a cell that one of the runs doesn't have."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Every measure that either run has: key columns, both values with intervals, agreement.

    `differs` names the columns of `SETTING` in which the runs are not alike.
    """

    table: pd.DataFrame

    def counts(self) -> dict[str, int]:
        """How many measures agree how, those that occur."""
        found = self.table["agreement"].value_counts()
        return {name: int(found[name]) for name in AGREEMENTS if name in found}

    def lines(self, *, metric: str, k: int) -> Iterator[str]:
        """One line a cell of one metric, in percent, and one that counts all measures.

        A metric that has no cut-off is printed whatever `k` is.

        Raises:
            UserError: a metric or cut-off that neither run has.
        """
        for row in self._chosen(metric, k).to_dict("records"):
            where = f"{row['defence']}/seed{row['seed']:.0f}/{row['attack']}"
            how = f"{row['protocol']}, {row['labels']}, galleries of {row['gallery_images']:.0f}"
            here, there = (_percent(row, side) for side in ("here", "there"))
            agreement = row["agreement"] + (f" ({row['differs']})" if row["differs"] else "")
            yield f"{where} {row['direction']} ({how}): {here} | {there} | {agreement}"
        told = ", ".join(f"{number} {name}" for name, number in self.counts().items())
        yield f"all measures: {told}"

    def _chosen(self, metric: str, k: int) -> pd.DataFrame:
        known = self.table["metric"]
        if metric not in set(known):
            raise unknown_name("metric", metric, list(known.unique()))
        found = self.table[known == metric]
        ks = found["k"].dropna().unique()
        if len(ks) == 0:
            return found
        if k not in ks:
            allowed = ", ".join(f"{of:.0f}" for of in sorted(ks))
            raise UserError(f"metric {metric}: no k of {k} (allowed: {allowed})")
        return found[found["k"] == k]


def compare(here: Path, there: Path | None = None) -> Comparison:
    """Set a run beside another, or beside the numbers of record.

    Intervals are about the test images of each run and say nothing of training: two seeds may lie
    apart without a mistake. Those of runs on the same images overlap more often than they would
    by chance. Fields of attacks and of training are not in the tables, so a difference in them is
    not told.

    Args:
        here: folder of a run, or its `metrics.csv`.
        there: of the other, compressed or not; the folder of record of the same study if left out.

    Raises:
        UserError: a file is missing or no table of metrics.
    """
    if not here.exists():
        raise UserError(f"{here}: no such folder or table")
    if there is None:
        there = OF_RECORD / (here if here.is_dir() else here.parent).resolve().name
        if not there.is_dir():
            raise UserError(f"{there}: no results of record to compare {here} with; name another")
    columns = [*KEY, "value", "low", "high", "n", *SETTING]
    paths = [_table_of(path) for path in (here, there)]
    sides = [read_metrics(path)[columns].reset_index(names="row") for path in paths]
    both = sides[0].merge(
        sides[1], on=KEY, how="outer", suffixes=("_here", "_there"), indicator=True
    )
    # A merge of all sorts by key; the order is that of the run, and then that of the other.
    both = both.sort_values(["row_here", "row_there"], ignore_index=True)
    rows = both.to_dict("records")
    both["differs"] = [_differs(row) for row in rows]
    both["agreement"] = [
        _agreement(row, differs) for row, differs in zip(rows, both["differs"], strict=True)
    ]
    settings = [f"{name}_{side}" for name in SETTING for side in ("here", "there")]
    return Comparison(table=both.drop(columns=["_merge", "row_here", "row_there", *settings]))


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


def _differs(row: Mapping[Any, Any]) -> str:
    """Columns of the setting in which a measure of both runs isn't alike."""
    if row["_merge"] != "both":
        return ""
    sides = ((name, row[f"{name}_here"], row[f"{name}_there"]) for name in SETTING)
    return " ".join(
        name for name, one, other in sides if one != other and not (pd.isna(one) and pd.isna(other))
    )


def _agreement(row: Mapping[Any, Any], differs: str) -> str:
    if row["_merge"] != "both":
        return "only here" if row["_merge"] == "left_only" else "only there"
    if differs:
        return "another setting"
    here, there = row["value_here"], row["value_there"]
    if pd.isna(here) or pd.isna(there):
        return "same" if pd.isna(here) and pd.isna(there) else "undefined"
    if all(row[f"{name}_here"] == row[f"{name}_there"] for name in ("value", "n", "low", "high")):
        return "same"
    low = max(row["low_here"], row["low_there"])
    return "overlap" if low <= min(row["high_here"], row["high_there"]) else "apart"


def _percent(row: Mapping[Any, Any], side: str) -> str:
    value, low, high = (row[f"{name}_{side}"] for name in ("value", "low", "high"))
    return "-" if pd.isna(value) else f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
