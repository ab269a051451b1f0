"""Recall of a finished study in Markdown: every number with its count and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from mmrobust.figures.dose_response import DIRECTION, MEASURED
from mmrobust.figures.style import label
from mmrobust.figures.table import (
    CELL,
    DIRECTIONS,
    Grid,
    curves_of,
    gallery_sizes,
    of_curve,
    select,
    within_protocol,
)
from mmrobust.report.augmentations import Estimate
from mmrobust.report.markdown import code, crossed, table
from mmrobust.report.record import Record
from mmrobust.report.tables import PROTOCOLS, Number, Row, table_rows
from mmrobust.report.words import NOTHING, count, decimal, percent
from mmrobust.sweep_table import Point

ONE_IMAGE, POSITIVES = "one_image", "positives"


def recall_tables(record: Record, protocol: str, labels: str = ONE_IMAGE) -> list[str]:
    """Recall at 1 of the defences that a study writes under all its attacks, by direction.

    Positives labels are left out where they change no number.
    """
    grid, parts = within_protocol(record.metrics, record.own, protocol), []
    for size in gallery_sizes(record.metrics):
        rows = _recall(record, grid, protocol, labels, size)
        same = _recall(record, grid, protocol, ONE_IMAGE, size) if labels == POSITIVES else None
        if same is None or not _equal(rows, same):
            parts += _by_direction(record, rows, grid)
    return parts


def curve_tables(record: Record) -> list[str]:
    """Recall at 1 at the points of every curve, of the defences that a study writes."""
    parts = []
    for curve in curves_of(record.metrics):
        parts.append(f"### {label(curve)}")
        grid = _along(record, curve, record.own)
        for size in gallery_sizes(record.metrics):
            rows = _recall(record, grid, "own_pair", ONE_IMAGE, size, curve)
            parts += _by_direction(record, rows, grid)
    return parts


def sweep_tables(record: Record) -> list[str]:
    """What was measured at each value of each sweep, and recall at 1 of the defence there."""
    parts = []
    for name in dict.fromkeys(point.sweep for point in record.points):
        points = [point for point in record.points if point.sweep == name]
        first = points[0]
        varied = "their number" if first.field == "n" else code(first.field)
        parts += [
            f"### {label(name)}",
            f"{code(first.base)} learns from {code(first.swept)}, over {varied}. {_main(record)}",
            _sweep(record, points),
            *_curves_of_sweep(record, points),
        ]
    return parts


def estimate_text(measure: str, found: Estimate | None) -> str:
    """A measure of an augmented set with its interval; shares in percent."""
    if found is None or found.value is None:
        return NOTHING
    told = percent if measure == "true_share" else decimal
    interval = f" [{told(found.low)}, {told(found.high)}]" if found.low is not None else ""
    return told(found.value) + interval


def _along(record: Record, curve: str, grid: Grid) -> Grid:
    """The points of a curve as the attacks of a grid."""
    points = of_curve(record.metrics, curve)["attack"].unique()
    return replace(grid, attacks=tuple(str(name) for name in points))


def _recall(
    record: Record, grid: Grid, protocol: str, labels: str, size: int, curve: str = ""
) -> pd.DataFrame:
    rows = select(
        record.metrics,
        metric="recall_at_k",
        protocol=protocol,
        labels=labels,
        gallery_images=size,
        curve=curve,
    )
    return rows[rows["defence"].isin(grid.defences)]


def _equal(rows: pd.DataFrame, others: pd.DataFrame) -> bool:
    values, of = (
        table.set_index([*CELL, "direction"])["value"].sort_index() for table in (rows, others)
    )
    return values.equals(of)


def _by_direction(record: Record, rows: pd.DataFrame, grid: Grid) -> list[str]:
    """A caption and tables for each direction: a table for attacks on the same defences."""
    parts = []
    for direction in DIRECTIONS:
        chosen = rows[rows["direction"] == direction]
        if chosen.empty:
            continue
        parts.append(_caption(record, chosen))
        for block in _blocks(grid):
            shown = table_rows(rows, block, block.attacks, record.flagged)
            shown = [row for row in shown if row.direction == direction]
            columns = [
                _column(code(attack), [row.numbers[at] for row in shown])
                for at, attack in enumerate(block.attacks)
            ]
            names = [_named(row) for row in shown]
            cells = list(zip(*(texts for _, texts in columns), strict=True))
            heads = [head for head, _ in columns]
            parts.append(crossed(("defence", "attack"), names, heads, cells))
    return parts


def _caption(record: Record, rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    labels = first["labels"].replace("_", "-")
    images, captions = (count(first[f"gallery_{of}"]) for of in ("images", "captions"))
    parts = [
        f"**{first['direction']} recall at 1, %, {labels} labels**",
        f"galleries of {images} images and {captions} captions",
        PROTOCOLS[first["protocol"]],
        f"{100 * first['confidence']:g} % intervals over the test images",
    ]
    if first["labels"] == POSITIVES:
        parts.append(f"{first['positives_per_query']:.2f} right answers a query")
    if record.several_seeds:
        parts.append("before the seeds their mean, the lowest and the highest")
    return ", ".join(parts) + "."


def _blocks(grid: Grid) -> list[Grid]:
    """The grid in parts without gaps: the attacks that are run on the same defences."""
    parts: dict[tuple[str, ...], list[str]] = {}
    for attack in grid.attacks:
        defences = tuple(name for name in grid.defences if grid.has(name, attack))
        parts.setdefault(defences, []).append(attack)
    return [
        replace(grid, defences=defences, attacks=tuple(attacks))
        for defences, attacks in parts.items()
        if defences
    ]


def _named(row: Row) -> str:
    seed = {"": "", "mean": ", mean"}.get(row.seed, f", seed {row.seed}")
    return code(row.defence) + seed


def _column(name: str, numbers: Sequence[Number]) -> tuple[str, list[str]]:
    """Heading and cells; a count that all share stands in the heading."""
    counts = {number.n for number in numbers if number.n}
    shared = f", n = {counts.pop()}" if len(counts) == 1 else ""
    return name + shared, [_text(number, counted=not shared) for number in numbers]


def _text(number: Number, *, counted: bool) -> str:
    spread = number.interval and not number.n
    parts = [
        number.value,
        f"({number.interval})" if spread else number.interval,
        f"n = {number.n}" if counted and number.n else "",
        "flag" if number.flagged else "",
    ]
    return " ".join(part for part in parts if part)


def _compared(record: Record, points: Sequence[Point]) -> Grid:
    """The defences of a sweep, after the one without augmentations where there is one."""
    without = [points[0].without] if points[0].without else []
    return replace(record.whole, defences=(*without, *(point.defence for point in points)))


def _curves_of_sweep(record: Record, points: Sequence[Point]) -> list[str]:
    """Recall at 1 of i2t queries, at the main gallery size, along the curves run on all points."""
    parts, size = [], next(iter(gallery_sizes(record.metrics)))
    for curve in curves_of(record.metrics):
        grid = _along(record, curve, _compared(record, points))
        if grid.on_all(grid.attacks):
            rows = _recall(record, grid, "own_pair", ONE_IMAGE, size, curve)
            parts += _by_direction(record, rows[rows["direction"] == DIRECTION], grid)
    return parts


def _sweep(record: Record, points: Sequence[Point]) -> str:
    grid = within_protocol(record.metrics, _compared(record, points), "full_gallery")
    attacks = grid.on_all(grid.attacks)
    rows = table_rows(select(record.metrics, metric="recall_at_k"), grid, attacks, record.flagged)
    sides = [[row for row in rows if row.direction == direction] for direction in DIRECTIONS]
    columns = [
        _column(f"{side[0].direction} {code(attack)}", [row.numbers[at] for row in side])
        for side in sides
        for at, attack in enumerate(attacks)
    ]
    about = {points[0].without: ["none"] + [NOTHING] * (1 + len(MEASURED))}
    about |= {point.defence: _about(record, point) for point in points}
    lines = [
        [*about[row.defence], _named(row), *(texts[at] for _, texts in columns)]
        for at, row in enumerate(sides[0])
    ]
    head = ["value", "n", *MEASURED, "defence", *(head for head, _ in columns)]
    return table(head, lines)


def _main(record: Record) -> str:
    rows = select(record.metrics, metric="recall_at_k")
    size = count(rows["gallery_images"].iloc[0])
    how = f"one-image labels, galleries of {size} images, {PROTOCOLS['full_gallery']}"
    return f"Recall at 1, %, {how}; {code('true_share')} in percent."


def _about(record: Record, point: Point) -> list[str]:
    measured = [
        estimate_text(name, record.estimates.get((point.augmentation, point.n, name)))
        for name in MEASURED
    ]
    return [point.value, str(point.n), *measured]
