"""The table of the points of sweeps, `sweeps.csv`; planned with and drawn from, so it is light."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mmrobust.artifacts import replacing
from mmrobust.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Point:
    """A value of a sweep and the defence that learned at it.

    Fields:
        sweep: as the study names it.
        field: of the augmentation, or `n`.
        value: as it is written.
        defence: trained at this value; the base itself where the base has the value.
        augmentation: the set that it learns from.
        n: how many of an item's augmentations it learns from.
        base: the defence that the sweep varies.
        swept: the augmentation that the sweep varies, as the base learns from it.
        without: the defence that is the base but for learning from no augmentations; may be empty.
    """

    sweep: str
    field: str
    value: str
    defence: str
    augmentation: str
    n: int
    base: str
    swept: str
    without: str = ""


COLUMNS = [field.name for field in fields(Point)]


def tabulate(cfg: Mapping[str, Any], *, out: Path) -> None:
    """Write one row a point, in the study's order; only the header for a study without sweeps.

    Args:
        cfg: `points`, each with the fields of `Point`.
        out: the table, a CSV.
    """
    with (
        replacing(out) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(cfg["points"])


def read_points(path: Path) -> list[Point]:
    """The points of `sweeps.csv`, in its order; none if there is no such file.

    Raises:
        UserError: a column is missing, or `n` is no number.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            absent = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
            if absent:
                raise UserError(f"{path}: column missing: {', '.join(absent)}")
            rows = [{name: row[name] or "" for name in COLUMNS} for row in reader]
            return [Point(**(row | {"n": int(row["n"])})) for row in rows]  # type: ignore[arg-type]
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise UserError(f"{path}: not a table of sweeps ({error})") from None
