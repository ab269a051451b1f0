"""The worst case over several attacks, query by query, under own_pair.

Items don't interact under own_pair, so an attacker who has several attacks may take for each query
the perturbation that ranks its answer lowest: never weaker than one perturbation for an item and
all its queries. Up to the largest k of a study the recall of an ensemble is exact: a member that
is run on standing items only can rank a fallen one lower still, which no recall shows.

An ensemble may be about the queries of one direction. Then all this is true of those alone: members
are not run on an item of which they have fallen, and outcomes of the others are no worst case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmrobust.evaluation.retrieval import of_items

Craft = Callable[[Sequence[int]], pd.DataFrame]
"""Rows of images to the outcomes of attacking just these."""


@dataclass
class WorstCase:
    """Outcomes of the items so far, and how many of them each member left standing.

    Fields:
        outcomes: own_pair outcomes of the ensemble's items.
        max_k: an item stands while any of its queries has an answer within rank `max_k`.
        direction: of the queries that an item stands by; None for both.
        standing: member -> items that still stood after it.
    """

    outcomes: pd.DataFrame
    max_k: int
    direction: str | None = None
    standing: dict[str, int] = field(default_factory=dict)

    def items_standing(self) -> list[int]:
        """Rows of images that no member has felled yet, ascending."""
        stands = self.outcomes[self.outcomes["rank"] <= self.max_k]
        if self.direction is not None:
            stands = stands[stands["direction"] == self.direction]
        return sorted(stands["image"].unique().tolist())

    def add(self, member: str, outcomes: pd.DataFrame) -> None:
        """Take over what a member ranks lower; it may be about more items or fewer."""
        theirs = of_items(outcomes, self.outcomes["image"].unique().tolist())
        rows, found = _places(self.outcomes, theirs), theirs["rank"].to_numpy()
        lower = found > self.outcomes["rank"].to_numpy()[rows]
        for column in ("rank", "caption_true"):
            values = self.outcomes[column].to_numpy().copy()
            values[rows[lower]] = theirs[column].to_numpy()[lower]
            self.outcomes = self.outcomes.assign(**{column: values})
        self.standing[member] = len(self.items_standing())

    def attack_standing(self, member: str, craft: Craft) -> None:
        """Run a member on the items that still stand, and on no other."""
        standing = self.items_standing()
        if standing:
            self.add(member, craft(standing))
        else:
            self.standing[member] = 0


def _places(ours: pd.DataFrame, theirs: pd.DataFrame) -> NDArray[np.int64]:
    """Row of `ours` for each row of `theirs`."""
    keys = ["protocol", "direction", "labels", "gallery_images", "query"]
    index = pd.MultiIndex.from_frame(ours[keys])
    places: NDArray[np.int64] = index.get_indexer(pd.MultiIndex.from_frame(theirs[keys]))
    if (places < 0).any():
        raise ValueError("a member's outcomes are about other queries than the ensemble's")
    return places
