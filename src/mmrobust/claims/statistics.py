"""Statistics that claims are judged by: which cells they compare, and how they are told.

They are read when a study is planned, so nothing here imports numpy or pandas; what they come to
on a study's cells is `claims.estimates`. Adding one is a class here, its estimate there, and a line
in `entries.STATISTICS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

CLEAN = "clean"
"""Attack of the cells in which nothing is attacked."""
PROTOCOLS = ("full_gallery", "own_pair")
DIRECTIONS = ("i2t", "t2i")
LABELS = ("one_image", "positives")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Cells of one defence under one attack, over all training seeds."""

    defence: str
    attack: str


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a comparison: the mean over some defences under one attack.

    Attributes:
        defences: distinct names, at least one.
        attack: that all of them are under.
    """

    defences: tuple[str, ...]
    attack: str

    def selections(self) -> tuple[Selection, ...]:
        """Cells of each defence."""
        return tuple(Selection(defence=name, attack=self.attack) for name in self.defences)

    def __str__(self) -> str:
        mean = "mean of " if len(self.defences) > 1 else ""
        return f"{mean}{', '.join(self.defences)} under {self.attack}"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Which recall: protocol, direction, labels, k and gallery size.

    `gallery_images` is None for the main gallery size of the cells, the first in their counts.
    """

    protocol: str
    direction: str
    labels: str
    k: int
    gallery_images: int | None = None

    def __str__(self) -> str:
        how = f"{self.protocol}, {self.labels}"
        if self.gallery_images is not None:
            how += f", galleries of {self.gallery_images} images"
        return f"{self.direction} recall at {self.k} ({how})"


class Statistic(Protocol):
    """What all statistics say of themselves."""

    @property
    def measure(self) -> Measure:
        """The recall that is compared."""

    def selections(self) -> tuple[Selection, ...]:
        """Cells that are compared."""

    def describe(self) -> str:
        """One line for the ledger."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Recall of side `a` minus recall of side `b`."""

    measure: Measure
    a: Side
    b: Side

    def selections(self) -> tuple[Selection, ...]:
        """Both sides."""
        return (*self.a.selections(), *self.b.selections())

    def weights(self) -> tuple[int, ...]:
        """Of the selections, in order; those above 0 add up to as much as those below."""
        n_a, n_b = len(self.a.defences), len(self.b.defences)
        return (n_b,) * n_a + (-n_a,) * n_b

    def describe(self) -> str:
        """Name of the recall and of both sides."""
        return f"difference of {self.measure}: {self.a} - {self.b}"


@dataclass(frozen=True, kw_only=True)
class Trend:
    """How much recall rises along a list of defences, such as those of a sweep.

    The linear contrast, which is proportional to the slope of the straight line that fits best:
    the mean recall of the later half less that of the earlier half, each defence weighted by its
    distance from the middle of the list. With four, (3 r4 + r3) / 4 - (3 r1 + r2) / 4. Weights go
    by place, not by dose, and the ends weigh most: a trend above 0 is no proof of every step.
    """

    measure: Measure
    along: Side

    def selections(self) -> tuple[Selection, ...]:
        """All of the list."""
        return self.along.selections()

    def weights(self) -> tuple[int, ...]:
        """Of the selections, in order: twice the distance from the middle."""
        last = len(self.along.defences) - 1
        return tuple(2 * at - last for at in range(last + 1))

    def describe(self) -> str:
        """Name of the recall and the list."""
        names = ", ".join(self.along.defences)
        return f"trend of {self.measure} along {names} under {self.along.attack}"


@dataclass(frozen=True, kw_only=True)
class RelativeDrop:
    """1 - (recall under the attack / clean recall of the same model)."""

    measure: Measure
    cell: Selection

    @property
    def clean(self) -> Selection:
        """Clean cells of the same models."""
        return Selection(defence=self.cell.defence, attack=CLEAN)

    def selections(self) -> tuple[Selection, ...]:
        """The attacked cells and the clean ones."""
        return (self.cell, self.clean)

    def describe(self) -> str:
        """Name of the recall, the model and the attack."""
        return f"relative drop of {self.measure}: {self.cell.defence} under {self.cell.attack}"
