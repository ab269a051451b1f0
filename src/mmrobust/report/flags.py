"""Gradient-masking flags as the report tells them: those raised one by one, the rest counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmrobust.errors import UserError
from mmrobust.report.rows import read_rows

TEXT = ("study", "defence", "attack", "flag", "raised", "against")
NUMBERS = ("seed", "value", "low", "high", "n")
MEANINGS = {
    "zero_gradients": "Too many gradients are exactly zero: the attack had nothing to follow.",
    "query_beats_gradients": "An attack by scores alone leaves less recall than the strongest "
    "one by gradients with the same budget.",
    "transfer_beats_white_box": "The same attack leaves less recall when it is crafted on another "
    "model.",
    "recall_survives_large_eps": "Recall stays well above chance at the largest eps of a curve.",
    "recall_rises_with_eps": "Recall is higher at a larger eps than at the one before.",
}
"""What a raised flag says, by its name."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One check of one cell; numbers are None where there are none."""

    defence: str
    seed: int
    attack: str
    name: str
    raised: bool
    value: float | None
    low: float | None
    high: float | None
    against: str
    n: int

    @property
    def meaning(self) -> str:
        """What it says if it is raised; empty for a flag that is not known here."""
        return MEANINGS.get(self.name, "")


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """A check that was made `checked` times and raised `raised` times."""

    name: str
    checked: int
    raised: int


def read_flags(path: Path) -> list[Flag] | None:
    """The rows of `flags.csv`, those raised first; None if there is no such file.

    Raises:
        UserError: not a table, a column is missing, or a value can't be what it stands for.
    """
    rows = read_rows(path, (*TEXT, *NUMBERS))
    if rows is None:
        return None
    flags = []
    for line, row in enumerate(rows, start=2):
        try:
            flags.append(_flag(row))
        except ValueError as error:
            raise UserError(f"{path}: line {line}: {error}") from None
    return sorted(flags, key=lambda flag: not flag.raised)


def _flag(row: dict[str, str]) -> Flag:
    if row["raised"] not in ("True", "False"):
        raise ValueError(f"raised is {row['raised']!r} (allowed: True, False)")
    value, low, high = (float(row[key]) if row[key] else None for key in ("value", "low", "high"))
    return Flag(
        defence=row["defence"],
        seed=int(row["seed"]),
        attack=row["attack"],
        name=row["flag"],
        raised=row["raised"] == "True",
        value=value,
        low=low,
        high=high,
        against=row["against"],
        n=int(row["n"]),
    )


def counted(flags: list[Flag]) -> list[Quiet]:
    """How often each check was made and raised, in the order of its first appearance by name."""
    names = sorted({flag.name for flag in flags})
    of = {name: [flag.raised for flag in flags if flag.name == name] for name in names}
    return [Quiet(name=name, checked=len(seen), raised=sum(seen)) for name, seen in of.items()]


def raised_cells(flags: list[Flag] | None) -> frozenset[tuple[str, int, str]]:
    """Defence, seed and attack of the cells with a raised flag."""
    return frozenset((flag.defence, flag.seed, flag.attack) for flag in flags or [] if flag.raised)
