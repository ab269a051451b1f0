"""Tables of the report: which numbers stand where, and what has none."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from mmrobust.figures.table import grid_of, read_metrics, select
from mmrobust.report.tables import NOT_RUN, hard_negatives, result_groups, table_rows


@pytest.fixture
def suite(made_up: ModuleType, tmp_path: Path) -> pd.DataFrame:
    rows: list[dict[str, Any]] = made_up.metric_rows(suite=True)
    clean = next(row for row in rows if row["attack"] == "clean")
    for name, value in (("hard_negative_accuracy", 0.8), ("rare_hard_negative_accuracy", 0.6)):
        rows.append(clean | {"metric": name, "k": "", "value": value, "low": 0.5, "high": 0.9})
    return read_metrics(made_up.write_metrics(tmp_path / "metrics.csv", rows))


def about_one_direction(metrics: pd.DataFrame) -> pd.DataFrame:
    strongest = metrics["attack"] == "strongest"
    changed = metrics.assign(worst_case=metrics["worst_case"].mask(strongest, "i2t"))
    return changed[~strongest | (metrics["direction"] == "i2t")]


def test_a_worst_case_of_one_direction_has_a_dash_in_the_other(suite: pd.DataFrame) -> None:
    metrics = about_one_direction(suite)
    rows = table_rows(
        select(metrics, metric="recall_at_k", protocol="own_pair"),
        grid_of(metrics),
        ["sga", "strongest"],
    )
    assert len(rows) == 6
    for row in rows:
        sga, strongest = row.numbers
        assert not sga.gap
        assert (strongest == NOT_RUN) == (row.direction == "t2i")
    columns = [
        column
        for group in result_groups(metrics, grid_of(metrics), "recall_at_k")
        for table in group.tables
        for column in table.columns
        if column.name == "strongest"
    ]
    assert columns
    assert all("worst case per i2t query" in column.notes for column in columns)


def test_what_a_worst_case_lacks_is_told_as_missing(suite: pd.DataFrame) -> None:
    gone = (suite["attack"] == "strongest") & (suite["defence"] == "mat")
    rows = table_rows(
        select(suite[~gone], metric="recall_at_k", protocol="own_pair"),
        grid_of(suite),
        ["strongest"],
    )
    assert {row.defence for row in rows if row.numbers[0].value == "missing"} == {"mat"}


def test_hard_negatives_of_several_seeds_follow_their_mean(suite: pd.DataFrame) -> None:
    shares = suite["metric"].isin(["hard_negative_accuracy", "rare_hard_negative_accuracy"])
    other = suite[shares].assign(seed=1)
    other["value"] = other["value"] + 0.05
    both = pd.concat([suite, other], ignore_index=True)
    found = hard_negatives(both, grid_of(both))
    assert [of.seed for of in found] == ["mean", "0", "1"]
    assert [of.plain.value for of in found] == ["82.5", "80.0", "85.0"]
    assert [of.rare and of.rare.value for of in found] == ["62.5", "60.0", "65.0"]
    assert found[0].plain.interval == "2 seeds, 80.0 to 85.0"
    assert found[0].plain.n == ""


def test_hard_negatives_are_told_with_and_without_rare_words(suite: pd.DataFrame) -> None:
    (found,) = hard_negatives(suite, grid_of(suite))
    assert (found.defence, found.seed, found.plain.value) == ("standard", "", "80.0")
    assert found.rare is not None
    assert found.rare.value == "60.0"
    without = suite[suite["metric"] != "rare_hard_negative_accuracy"]
    (found,) = hard_negatives(without, grid_of(without))
    assert found.rare is None
