"""Result tables of the report: every number of `metrics.csv`, grouped for a reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import pandas as pd

from mmrobust.ensembles import has_recall
from mmrobust.figures.facts import AttackFacts, attack_facts
from mmrobust.figures.notes import copies, resolution
from mmrobust.figures.style import label
from mmrobust.figures.table import (
    DIRECTIONS,
    Grid,
    by_cell,
    gallery_sizes,
    of_curve,
    select,
    within_protocol,
)
from mmrobust.report.words import NOTHING, count, percent

METRICS = {
    "recall_at_k": "recall",
    "attack_success_rate": "conditional attack success rate",
    "recall_drop": "recall drop",
}
Cells = Set[tuple[str, int, str]]
"""Defence, seed and attack."""
PROTOCOLS = {
    "full_gallery": "whole gallery attacked",
    "own_pair": "only the query's own pair attacked",
}
LABELS = {"one_image": "one-image labels", "positives": "positives matrix"}


@dataclass(frozen=True, kw_only=True)
class Number:
    """One entry of a table: percentages as text, or why there is none; a dash: not to be run."""

    value: str
    interval: str = ""
    n: str = ""
    gap: bool = False
    flagged: bool = False


NOT_RUN = Number(value=NOTHING)
"""Of an attack that the study doesn't run on a defence."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A defence in one direction; `seed` is empty for the only seed, `mean` over several."""

    direction: str
    defence: str
    seed: str
    numbers: list[Number]


@dataclass(frozen=True, kw_only=True)
class Column:
    """An attack, and what is to be known of it beside its numbers."""

    name: str
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A metric at one k by defence and attack.

    `positives` is, by direction, the mean number of right answers to a query; empty where only
    the query's own pair counts as right.
    """

    caption: str
    columns: list[Column]
    rows: list[Row]
    positives: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tables that share metric, protocol, labels and gallery."""

    title: str
    leading: bool
    tables: list[Table]


def result_groups(
    metrics: pd.DataFrame,
    grid: Grid,
    metric: str,
    *,
    flagged: Cells = frozenset(),
    curve: str = "",
) -> list[Group]:
    """All tables of a metric; the group that the figures show comes first.

    Args:
        metrics: rows of `metrics.csv`.
        grid: defences, attacks and seeds of the tables.
        metric: `recall_at_k`, `attack_success_rate` or `recall_drop`.
        flagged: cells whose numbers are marked.
        curve: the curve whose points make the columns, instead of the grid's attacks.
    """
    if curve:
        points = tuple(str(name) for name in of_curve(metrics, curve)["attack"].unique())
        grid = replace(grid, attacks=points)
    facts = attack_facts(metrics)
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
                    curve=curve,
                )
                # the first k of the first group is what the figures show: it stands open
                ks = sorted({int(k) for k in rows["k"]})
                for part in [ks[:1], ks[1:]] if not groups else [ks]:
                    if part:
                        leading = not groups and not curve
                        shown = within_protocol(metrics, grid, protocol)
                        about = _About(metric, protocol, labels, facts, flagged)
                        groups.append(_group(rows, shown, part, about, leading))
    return groups


@dataclass(frozen=True)
class _About:
    """What the tables of a group have in common."""

    metric: str
    protocol: str
    labels: str
    facts: Mapping[str, AttackFacts]
    flagged: Cells

    def column(self, attack: str) -> Column:
        facts = self.facts.get(attack)
        if facts is None:
            return Column(name=label(attack), notes=[])
        notes = [facts.in_brief() if facts.knowledge != "white_box" else ""]
        notes.append(f"{count(facts.attacked_images)} images" if facts.partial else "")
        notes.append(facts.worst_case_words())
        if facts.words:
            truth = facts.truth_words()
            notes.append(f"{truth} of captions true" if truth else "")
            notes.append("captions may become false" if facts.may_lie and not truth else "")
        return Column(name=label(attack), notes=[note for note in notes if note])


def _group(
    rows: pd.DataFrame,
    grid: Grid,
    ks: list[int],
    about: _About,
    leading: bool,
) -> Group:
    of_recall = about.metric == "recall_at_k"
    attacks = [name for name in grid.attacks if of_recall or name != "clean"]
    name = METRICS[about.metric]
    title = [f"{name[0].upper()}{name[1:]} at {', '.join(str(k) for k in ks)}"]
    title += [PROTOCOLS[about.protocol], LABELS[about.labels]]
    title.append(f"galleries of {count(rows['gallery_images'].iloc[0])} images")
    pictures = copies(resolution(rows))
    positives = _positives(rows) if of_recall and about.labels == "positives" else {}
    tables = [
        Table(
            caption=", ".join(part for part in (f"{name} at {k}, in percent", pictures) if part),
            columns=[about.column(attack) for attack in attacks],
            rows=table_rows(rows[rows["k"] == k], grid, attacks, about.flagged),
            positives=positives,
        )
        for k in ks
    ]
    return Group(title=", ".join(title), leading=leading, tables=tables)


def table_rows(
    rows: pd.DataFrame, grid: Grid, attacks: Sequence[str], flagged: Cells = frozenset()
) -> list[Row]:
    """One measure of each cell: a row a defence, direction and seed, several after their mean.

    A worst case about the queries of one direction has a dash in the other.

    Args:
        rows: of one measure at one gallery size.
        grid: defences and seeds.
        attacks: columns.
        flagged: cells whose numbers are marked.
    """
    result, of = [], by_cell(rows)
    worst_case = dict(zip(rows["attack"], rows["worst_case"], strict=True))
    for direction in DIRECTIONS:
        run = [name for name in attacks if has_recall(worst_case.get(name, ""), direction)]
        for defence in grid.defences:
            cells = [
                of[defence, attack, direction]
                if attack in run and grid.has(defence, attack)
                else None
                for attack in attacks
            ]
            if len(grid.seeds) > 1:
                means = [NOT_RUN if cell is None else _mean(cell) for cell in cells]
                result.append(Row(direction=direction, defence=defence, seed="mean", numbers=means))
            for seed in grid.seeds:
                name = str(seed) if len(grid.seeds) > 1 else ""
                numbers = [
                    NOT_RUN
                    if cell is None
                    else _number(
                        cell[cell["seed"] == seed], flagged=(defence, seed, attack) in flagged
                    )
                    for attack, cell in zip(attacks, cells, strict=True)
                ]
                result.append(Row(direction=direction, defence=defence, seed=name, numbers=numbers))
    return result


def _positives(rows: pd.DataFrame) -> dict[str, str]:
    """Mean number of positives of a query by direction; it is the data's, not a model's."""
    means = rows.groupby("direction")["positives_per_query"].mean()
    return {str(name): f"{mean:.2f}" for name, mean in means.items()}


def _number(cell: pd.DataFrame, *, flagged: bool) -> Number:
    if cell.empty:
        return Number(value="missing", gap=True)
    row = cell.iloc[0]
    if row["value"] != row["value"]:
        return Number(value="undefined", n=count(row["n"]), gap=True)
    interval = f"[{percent(row['low'])}, {percent(row['high'])}]"
    return Number(
        value=percent(row["value"]), interval=interval, n=count(row["n"]), flagged=flagged
    )


def _mean(cell: pd.DataFrame) -> Number:
    known = cell["value"].dropna()
    if known.empty:
        return Number(value="missing", gap=True)
    ends = " to ".join(percent(end) for end in (known.min(), known.max()))
    return Number(value=percent(known.mean()), interval=f"{len(known)} seeds, {ends}")


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Share of an attack's captions that are still true, for each model."""

    attack: str
    budget: str
    rows: list[tuple[str, str, Number]]


def truth_tables(metrics: pd.DataFrame, grid: Grid) -> list[Truth]:
    """Truth of the captions of every attack that changes words; those undecided are told so."""
    rows, facts = metrics[metrics["metric"] == "caption_truth"], attack_facts(metrics)
    names = [*grid.attacks, *(name for name in facts if name not in grid.attacks)]
    tables = []
    for attack in names:
        if attack not in facts or not facts[attack].words:
            continue
        found = _by_model(rows[rows["attack"] == attack], grid)
        budget = "must stay true" if facts[attack].keeps_truth else "may become false"
        told = [(*model, number) for model, number in found.items()]
        tables.append(Truth(attack=attack, budget=budget, rows=told))
    return tables


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How often a model prefers a caption to the same made wrong; None where not measured.

    Of several seeds, `seed` is `mean` for the mean over them.
    """

    defence: str
    seed: str
    plain: Number
    rare: Number | None


def hard_negatives(metrics: pd.DataFrame, grid: Grid) -> list[Reading]:
    """Of each model, on captions as they are and said with a rare word; those measured."""
    plain, rare = (
        _with_means(metrics[metrics["metric"] == f"{name}hard_negative_accuracy"], grid)
        for name in ("", "rare_")
    )
    return [
        Reading(defence=defence, seed=seed, plain=number, rare=rare.get((defence, seed)))
        for (defence, seed), number in plain.items()
    ]


def _with_means(rows: pd.DataFrame, grid: Grid) -> dict[tuple[str, str], Number]:
    """Numbers by model, those of several seeds after their mean."""
    found = _by_model(rows, grid)
    if len(grid.seeds) < 2:
        return found
    result = {}
    for (defence, seed), number in found.items():
        if (defence, "mean") not in result:
            of = (rows["defence"] == defence) & rows["seed"].isin(grid.seeds)
            result[defence, "mean"] = _mean(rows[of])
        result[defence, seed] = number
    return result


def _by_model(rows: pd.DataFrame, grid: Grid) -> dict[tuple[str, str], Number]:
    """Numbers of a share by defence and seed ("" if there is one), of the models that have it."""
    found = {}
    for defence in grid.defences:
        for seed in grid.seeds:
            cell = rows[(rows["defence"] == defence) & (rows["seed"] == seed)]
            if not cell.empty:
                name = str(seed) if len(grid.seeds) > 1 else ""
                found[defence, name] = _number(cell, flagged=False)
    return found
