"""Signs that a model only looks robust, from its cells under several attacks.

After the checks of AutoAttack (Croce and Hein 2020, arXiv:2003.01690, and `flags_doc.md` of its
code), the symptoms of obfuscated gradients of Athalye et al. 2018, arXiv:1802.00420, section 3.1,
and the checklist of Carlini et al. 2019, arXiv:1902.06705, section 3. A raised flag is a reason
to look for a better attack on that model and no proof; none raised proves nothing either.

Cells are compared on the images that both have, by whether the image query finds a caption of its
own at rank 1 (own_pair, one-image labels, the smallest galleries, where most are found clean).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mmrobust.evaluation.cells import Cell
from mmrobust.evaluation.retrieval import select_outcomes
from mmrobust.intervals import (
    Array,
    Interval,
    Resampling,
    difference_interval,
    rate_intervals,
)
from mmrobust.randomness import numpy_generator

MAX_ZERO_GRADIENTS = 0.01
"""A gradient over thousands of pixels is not exactly zero by chance. AutoAttack warns of a single
one, at its start; over a whole run a saturated step of a single item is let pass."""

MAX_OVER_CHANCE = 2.0
"""Where images may be changed at will, recall can't stay above guessing. Twice the chance leaves
room for galleries whose images differ in their number of captions."""

N_RESAMPLES = 2000
CONFIDENCE = 0.99
"""Higher than that of a study's intervals: a model has dozens of pairs of cells, and one in forty
of a pair without a difference would be raised at 0.95."""

Record = Mapping[str, Any]
Flag = dict[str, Any]


def flag_cells(cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """The cells of one model with the `flags` of their records filled, in the same order.

    The cells given are left as they are. Every check that applies to a cell is listed, raised or
    not:

    zero_gradients: the mean share of an item's gradients that are exactly zero is too large.
    query_beats_gradients: an attack by scores alone leaves less recall than the strongest
        white-box attack by gradients, both on images alone with the same budget.
    transfer_beats_white_box: the same attack with the same budgets leaves less recall when it is
        crafted on another model.
    recall_survives_large_eps: recall at the end of a curve over eps is well above chance. It
        says something of a model only if the curve ends where images may change beyond
        recognition.
    recall_rises_with_eps: recall at a point of a curve over eps is above that at the eps before.

    Args:
        cells: by name of the attack.
    """
    model = _Model(cells)
    return {
        name: replace(cell, record={**cell.record, "flags": model.flags(name)})
        for name, cell in cells.items()
    }


@dataclass(frozen=True)
class _Model:
    """All cells of one model."""

    cells: Mapping[str, Cell]

    def flags(self, name: str) -> list[Flag]:
        """Flags of one cell, in the order of `flag_cells`."""
        record = self.cells[name].record
        if record["threat_model"] is None:
            return []
        return [
            *_zero_gradients(record),
            *self._beaten(name, "query_beats_gradients", self._queries(name)),
            *self._beaten(name, "transfer_beats_white_box", self._transfers(record)),
            *self._along_curve(name),
        ]

    def _queries(self, name: str) -> Iterator[str]:
        """Query-only attacks of the same budget, if this is the attack that should beat them."""
        for other, theirs in self._threat_models():
            if theirs["knowledge"] == "query" and name == self._strongest_by_gradients[other]:
                yield other

    @cached_property
    def _strongest_by_gradients(self) -> dict[str, str | None]:
        """By query attack, the white-box attack on images alone that does best on its images.

        Weaker ones may lose to queries for what they maximise, or for steps that end too early.
        Attacks on more of its images come before those on fewer.
        """
        return {
            name: self._strongest_against(name)
            for name, threat_model in self._threat_models()
            if threat_model["knowledge"] == "query"
        }

    def _strongest_against(self, query: str) -> str | None:
        budgets = self.cells[query].record["threat_model"]
        leads = {}
        for name, ours in self._threat_models():
            by_gradients = self.cells[name].record["checks"].get("zero_gradients") is not None
            on_images = ours["text"] is None and _same_budgets(ours, budgets)
            if ours["knowledge"] == "white_box" and by_gradients and on_images:
                both = self._on_both(query, name)
                if len(both):
                    leads[name] = (len(both), _lead(both))
        return max(leads, key=leads.__getitem__, default=None)

    def _transfers(self, record: Record) -> Iterator[str]:
        """Cells of the same attack, field by field, and budgets that were crafted on a source."""
        ours, attack = record["threat_model"], record["attack_config"]
        if ours["knowledge"] != "white_box" or "method" not in attack:
            return
        for name, theirs in self._threat_models():
            if (
                theirs["knowledge"] == "transfer"
                and self.cells[name].record["attack_config"] == attack
                and _same_budgets(ours, theirs)
            ):
                yield name

    def _threat_models(self) -> Iterator[tuple[str, Record]]:
        for name, cell in self.cells.items():
            if cell.record["threat_model"] is not None:
                yield name, cell.record["threat_model"]

    def _beaten(self, name: str, flag: str, others: Iterator[str]) -> list[Flag]:
        """A flag for each of the others: raised if it leaves less recall than the cell itself."""
        flags = []
        for other in others:
            difference = self._difference(other, name)
            if difference is not None:
                says = f"recall under {other} less recall under {name}: {difference}"
                raised = difference.interval.high < 0
                flags.append(difference.flag(flag, raised=raised, against=other, says=says))
        return flags

    def _along_curve(self, name: str) -> list[Flag]:
        """Flags of a point of a curve over eps; none for other cells."""
        points = self._points(self.cells[name].record)
        if name not in points:
            return []
        at = points.index(name)
        flags = [self._survives(name)] if at == len(points) - 1 else []
        if at > 0:
            before = points[at - 1]
            difference = self._difference(name, before)
            if difference is not None:
                step = f"at eps {self._eps(name):.4g} less recall at eps {self._eps(before):.4g}"
                flags.append(
                    difference.flag(
                        "recall_rises_with_eps",
                        raised=difference.interval.low > 0,
                        against=before,
                        says=f"recall {step}: {difference}",
                    )
                )
        return flags

    def _points(self, record: Record) -> list[str]:
        """Cells of the record's curve by rising eps; empty if it isn't a curve over eps."""
        on_curve = [
            name
            for name, threat_model in self._threat_models()
            if record["curve"] is not None
            and self.cells[name].record["curve"] == record["curve"]
            and threat_model["image"] is not None
        ]
        points = sorted(on_curve, key=self._eps)
        return points if len({self._eps(name) for name in points}) > 1 else []

    def _survives(self, name: str) -> Flag:
        """Whether recall at the largest eps of a curve is well above that of guessing."""
        counts = self.cells[name].record["counts"]
        hits = np.asarray(self._hits[name], dtype=np.float64)
        gallery = _smallest_gallery(counts)
        chance = counts["captions"] / counts["images"] / gallery["gallery_captions"]
        (interval,) = rate_intervals(hits[None], np.ones((1, len(hits))), self._resampling())
        assert interval is not None
        value, low, high = float(hits.mean()), interval.low, interval.high
        return _flag(
            "recall_survives_large_eps",
            raised=low > MAX_OVER_CHANCE * chance,
            value=value,
            interval=interval,
            n=len(hits),
            says=f"recall at eps {self._eps(name):.4g}, the largest of its curve: {value:.3f} "
            f"({low:.3f} to {high:.3f}); by chance {chance:.4f}",
        )

    def _difference(self, one: str, other: str) -> _Difference | None:
        """Recall of one cell less that of another; None if they have no image in common."""
        both = self._on_both(one, other)
        if not len(both):
            return None
        ours, theirs = both.T
        interval = difference_interval([ours], [theirs], np.ones(len(both)), self._resampling())
        return _Difference(value=_lead(both), interval=interval, n=len(both))

    def _on_both(self, one: str, other: str) -> Array:
        """Hits (n, 2) of two cells on the images that both have."""
        hits = [self._hits[one], self._hits[other]]
        return pd.concat(hits, axis=1, join="inner").to_numpy()

    @cached_property
    def _hits(self) -> dict[str, pd.Series[float]]:
        return {name: _hits(cell) for name, cell in self.cells.items()}

    def _resampling(self) -> Resampling:
        """The same draws for every flag of a model, whatever other cells it has."""
        seed = next(iter(self.cells.values())).record["seed"]
        generator = numpy_generator(seed, "evaluation", "flags")
        return Resampling(n_resamples=N_RESAMPLES, confidence=CONFIDENCE, generator=generator)

    def _eps(self, name: str) -> float:
        return float(self.cells[name].record["threat_model"]["image"]["eps"])


@dataclass(frozen=True, kw_only=True)
class _Difference:
    """Recall of one cell less that of another on the `n` images that both have."""

    value: float
    interval: Interval
    n: int

    def __str__(self) -> str:
        low, high = self.interval.low, self.interval.high
        return f"{self.value:+.3f} ({low:+.3f} to {high:+.3f}) on {self.n} images"

    def flag(self, name: str, *, raised: bool, against: str, says: str) -> Flag:
        return _flag(
            name,
            raised=raised,
            value=self.value,
            interval=self.interval,
            against=against,
            n=self.n,
            says=says,
        )


def _lead(both: Array) -> float:
    """Recall of the first of two cells less that of the second, from hits (n, 2)."""
    return float((both[:, 0] - both[:, 1]).mean())


def _zero_gradients(record: Record) -> list[Flag]:
    share = record["checks"].get("zero_gradients")
    if share is None:
        return []
    source = record["threat_model"]["source"]
    whose = "the model" if source is None else f"the source {source}"
    return [
        _flag(
            "zero_gradients",
            raised=share > MAX_ZERO_GRADIENTS,
            value=share,
            n=record["counts"]["attacked_images"],
            says=f"share of gradients of {whose} that are exactly zero: {share:.3f} "
            f"(allowed: {MAX_ZERO_GRADIENTS})",
        )
    ]


def _hits(cell: Cell) -> pd.Series[float]:
    """1.0 or 0.0 by row of the image: whether it finds a caption of its own at rank 1."""
    rows = select_outcomes(
        cell.outcomes,
        protocol="own_pair",
        direction="i2t",
        labels="one_image",
        gallery_images=_smallest_gallery(cell.record["counts"])["gallery_images"],
    )
    return pd.Series((rows["rank"] == 1).to_numpy(dtype=float), index=rows["query"])


def _smallest_gallery(counts: Record) -> Record:
    smallest: Record = min(counts["galleries"], key=lambda gallery: gallery["gallery_images"])
    return smallest


def _same_budgets(one: Record, other: Record) -> bool:
    return all(one[modality] == other[modality] for modality in ("image", "text"))


def _flag(
    name: str,
    *,
    raised: bool,
    value: float,
    n: int,
    says: str,
    interval: Interval | None = None,
    against: str | None = None,
) -> Flag:
    return {
        "flag": name,
        "raised": bool(raised),
        "value": value,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "against": against,
        "n": n,
        "says": says,
    }
