"""Result tables of the report: every number of `metrics.csv`, grouped for a reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from mmrobust.figures.notes import copies, resolution
from mmrobust.figures.style import label
from mmrobust.figures.table import DIRECTIONS, Grid, by_cell, gallery_sizes, select
from mmrobust.report.words import count, percent

METRICS = {"recall_at_k": "recall", "attack_success_rate": "attack success rate"}
PROTOCOLS = {
    "full_gallery": "whole gallery attacked",
    "own_pair": "only the query's own pair attacked",
}
LABELS = {"one_image": "one-image labels", "positives": "positives matrix"}


@dataclass(frozen=True, kw_only=True)
class Number:
    """One entry of a table: percentages as text, or why there is none."""

    value: str
    interval: str = ""
    n: str = ""
    gap: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """A defence in one direction; `seed` is empty for the only seed, `mean` over several."""

    direction: str
    defence: str
    seed: str
    numbers: list[Number]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A metric at one k by defence and attack.

    `positives` is, by direction, the mean number of right answers to a query; empty where only
    the query's own pair counts as right.
    """

    caption: str
    columns: list[str]
    rows: list[Row]
    positives: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tables that share metric, protocol, labels and gallery."""

    title: str
    leading: bool
    tables: list[Table]


def result_groups(metrics: pd.DataFrame, grid: Grid, metric: str) -> list[Group]:
    """All tables of a metric; the group that the figures show comes first."""
    groups: list[Group] = []
    for size in gallery_sizes(metrics):
        for protocol in PROTOCOLS:
            for labels in LABELS:
                rows = select(
                    metrics,
                    metric=metric,
                    k=None,
                    protocol=protocol,
                    labels=labels,
                    gallery_images=size,
                )
                # the first k of the first group is what the figures show: it stands open
                ks = sorted({int(k) for k in rows["k"]})
                for part in [ks[:1], ks[1:]] if not groups else [ks]:
                    if part:
                        groups.append(
                            _group(rows, grid, part, metric, protocol, labels, not groups)
                        )
    return groups


def _group(
    rows: pd.DataFrame,
    grid: Grid,
    ks: list[int],
    metric: str,
    protocol: str,
    labels: str,
    leading: bool,
) -> Group:
    attacks = [name for name in grid.attacks if metric == "recall_at_k" or name != "clean"]
    name = METRICS[metric]
    title = [f"{name[0].upper()}{name[1:]} at {', '.join(str(k) for k in ks)}"]
    title += [PROTOCOLS[protocol], LABELS[labels]]
    title.append(f"galleries of {count(rows['gallery_images'].iloc[0])} images")
    pictures = copies(resolution(rows))
    of_recall = metric == "recall_at_k" and labels == "positives"
    positives = _positives(rows) if of_recall else {}
    tables = [
        Table(
            caption=", ".join(part for part in (f"{name} at {k}, in percent", pictures) if part),
            columns=[label(attack) for attack in attacks],
            rows=_rows(rows[rows["k"] == k], grid, attacks),
            positives=positives,
        )
        for k in ks
    ]
    return Group(title=", ".join(title), leading=leading, tables=tables)


def _rows(rows: pd.DataFrame, grid: Grid, attacks: Sequence[str]) -> list[Row]:
    result, of = [], by_cell(rows)
    for direction in DIRECTIONS:
        for defence in grid.defences:
            cells = [of[defence, attack, direction] for attack in attacks]
            if len(grid.seeds) > 1:
                means = [_mean(cell) for cell in cells]
                result.append(Row(direction=direction, defence=defence, seed="mean", numbers=means))
            for seed in grid.seeds:
                name = str(seed) if len(grid.seeds) > 1 else ""
                numbers = [_number(cell[cell["seed"] == seed]) for cell in cells]
                result.append(Row(direction=direction, defence=defence, seed=name, numbers=numbers))
    return result


def _positives(rows: pd.DataFrame) -> dict[str, str]:
    """Mean number of positives of a query by direction; it is the data's, not a model's."""
    means = rows.groupby("direction")["positives_per_query"].mean()
    return {str(name): f"{mean:.2f}" for name, mean in means.items()}


def _number(cell: pd.DataFrame) -> Number:
    if cell.empty:
        return Number(value="missing", gap=True)
    row = cell.iloc[0]
    if row["value"] != row["value"]:
        return Number(value="undefined", n=count(row["n"]), gap=True)
    interval = f"[{percent(row['low'])}, {percent(row['high'])}]"
    return Number(value=percent(row["value"]), interval=interval, n=count(row["n"]))


def _mean(cell: pd.DataFrame) -> Number:
    known = cell["value"].dropna()
    if known.empty:
        return Number(value="missing", gap=True)
    return Number(value=percent(known.mean()), interval=f"{len(known)} seeds")
