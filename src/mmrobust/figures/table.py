"""The tidy table of a study (`metrics.csv`) as figures read it: checked, ordered, selected."""

from __future__ import annotations

import gzip
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from mmrobust.artifacts import MAKE
from mmrobust.disk import missing
from mmrobust.errors import UserError
from mmrobust.parts import Only, is_run

CELL = ["defence", "seed", "attack"]
MEASURE = ["protocol", "direction", "labels", "metric", "k"]
TEXT = [
    *("study", "dataset", "source_resolution", "defence", "attack", "threat_model"),
    *("attack_method", "knowledge", "source", "image_norm", "keeps_truth", "worst_case", "curve"),
    *("protocol", "direction", "labels", "metric", "interval"),
]
NUMBERS = [
    *("seed", "gallery_images", "n", "successes", "confidence"),
    *("images", "captions", "attacked_images", "gallery_captions", "positives_per_query"),
]
UNDEFINED = ["value", "low", "high"]
"""Numbers that are empty where a rate is of nothing."""
SOMETIMES = ["k", "image_eps", "text_words", "text_characters"]
"""Numbers that are empty where there is no such thing: no rank, no budget of that kind."""

DIRECTIONS = {"i2t": "image query, captions ranked", "t2i": "caption query, images ranked"}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What a study means to measure, in the order in which it is drawn.

    Fields:
        defences: names.
        attacks: names, ensembles and `clean` among them, but no points of curves.
        seeds: of training.
        only: the defences of those attacks, and points of curves, that are run on some alone.
    """

    defences: tuple[str, ...]
    attacks: tuple[str, ...]
    seeds: tuple[int, ...]
    only: Only = field(default_factory=dict)

    def has(self, defence: str, attack: str) -> bool:
        """Whether the study means to run an attack on a defence: else nothing is missing."""
        return is_run(attack, defence, self.only)

    def on_all(self, attacks: Iterable[str]) -> list[str]:
        """Those attacks that are run on every defence: means over defences compare them."""
        return [name for name in attacks if all(self.has(of, name) for of in self.defences)]


def read_metrics(path: Path) -> pd.DataFrame:
    """Read `metrics.csv`, or the same compressed, `metrics.csv.gz`.

    Names such as `none` stay text; a value that is undefined, with its limits, becomes NaN, and
    so does a number that a row has none of.

    Raises:
        UserError: the file is missing, not a table, lacks a column, holds text where a number
            must stand, or holds the same measure of the same cell twice.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise missing(path, MAKE) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a compressed table ({error})") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a CSV table ({error})") from None
    numbers = [*NUMBERS, *UNDEFINED, *SOMETIMES]
    absent = [name for name in (*TEXT, *numbers) if name not in table.columns]
    if absent:
        raise UserError(f"{path}: column missing: {', '.join(absent)}")
    for name in numbers:
        table[name] = _numbers(table[name], path, may_be_empty=name not in NUMBERS)
    twice = table.duplicated([*CELL, *MEASURE, "gallery_images"])
    if twice.any():
        line = int(twice.to_numpy().argmax()) + 2
        raise UserError(f"{path}: line {line}: the same measure of the same cell stands twice")
    return table


def _numbers(column: pd.Series[str], path: Path, *, may_be_empty: bool) -> pd.Series[float]:
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    wrong = numbers.isna() & ((column != "") | (not may_be_empty))
    if wrong.any():
        line = int(wrong.to_numpy().argmax()) + 2
        raise UserError(
            f"{path}: line {line}: {column.name} is {column[wrong].iloc[0]!r}, not a number"
        )
    return numbers


def grid_of(
    metrics: pd.DataFrame,
    *,
    defences: Sequence[str] | None = None,
    attacks: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    only: Only | None = None,
) -> Grid:
    """The grid to draw: as given, else as found in the table.

    What is found keeps the order of the table, with `standard` and `clean` in front because
    everything else is compared with them; points of curves are left out. Given names that the
    table lacks are drawn as missing, and so is each attack on each defence but for what `only`
    names other defences of.
    """
    metrics = of_curve(metrics, "")
    return Grid(
        defences=tuple(defences or _found(metrics["defence"], first="standard")),
        attacks=tuple(attacks or _found(metrics["attack"], first="clean")),
        seeds=tuple(seeds or sorted({int(seed) for seed in metrics["seed"]})),
        only=only or {},
    )


def _found(names: Iterable[str], *, first: str) -> list[str]:
    # sorting is stable: only `first` moves
    return sorted(dict.fromkeys(names), key=lambda name: name != first)


def of_curve(metrics: pd.DataFrame, curve: str) -> pd.DataFrame:
    """Rows of the points of a curve; of the cells that are no such point for the empty name."""
    return metrics[metrics["curve"] == curve]


def curves_of(metrics: pd.DataFrame) -> list[str]:
    """Names of the curves that the table has points of, in its order."""
    return [name for name in metrics["curve"].unique() if name]


def within_protocol(metrics: pd.DataFrame, grid: Grid, protocol: str) -> Grid:
    """The grid without attacks that were measured, but under other protocols alone.

    Ensembles and attacks on a part of the items have no numbers under `full_gallery`: they are
    not missing there. An attack that the table doesn't know at all stays, to be told as missing.
    """
    elsewhere = set(metrics["attack"]) - set(metrics["attack"][metrics["protocol"] == protocol])
    return replace(grid, attacks=tuple(name for name in grid.attacks if name not in elsewhere))


def gallery_sizes(metrics: pd.DataFrame) -> list[int]:
    """Gallery sizes of the table, in images, in its order; the first is the study's main one."""
    return [int(size) for size in metrics["gallery_images"].unique()]


def select(
    metrics: pd.DataFrame,
    *,
    metric: str,
    k: int | None = 1,
    protocol: str = "full_gallery",
    labels: str | None = "one_image",
    gallery_images: int | None = None,
    curve: str = "",
) -> pd.DataFrame:
    """Rows of one measure, at one gallery size: the given one, else the study's main one.

    Rows of curves are left out unless a curve is named.
    """
    if gallery_images is None:
        gallery_images = next(iter(gallery_sizes(metrics)), None)
    rows = of_curve(metrics, curve)
    rows = rows[(rows["metric"] == metric) & (rows["protocol"] == protocol)]
    if k is not None:
        rows = rows[rows["k"] == k]
    if labels is not None:
        rows = rows[rows["labels"] == labels]
    return rows if gallery_images is None else rows[rows["gallery_images"] == gallery_images]


Cells = Mapping[tuple[str, str, str], pd.DataFrame]
"""Rows by (defence, attack, direction)."""


def by_cell(rows: pd.DataFrame) -> Cells:
    """Rows by (defence, attack, direction), one a seed and in its order; none for other keys."""
    groups = rows.sort_values("seed", kind="stable").groupby(["defence", "attack", "direction"])
    cells: dict[tuple[str, str, str], pd.DataFrame] = defaultdict(lambda: rows.iloc[:0])
    for (defence, attack, direction), group in groups:
        cells[str(defence), str(attack), str(direction)] = group
    return cells


def strongest_attack(metrics: pd.DataFrame, grid: Grid) -> str | None:
    """The attack that leaves the least recall at 1 on average over defences and directions.

    Of those that are run on every defence: one that is run on weak models alone is no stronger.
    """
    rows = select(metrics, metric="recall_at_k")
    rows = rows[rows["attack"].isin(grid.on_all(grid.attacks)) & (rows["attack"] != "clean")]
    if rows.empty:
        return None
    means = rows.groupby("attack", sort=False)["value"].mean()
    return None if means.isna().all() else str(means.idxmin())
