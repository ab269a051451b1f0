"""What a reader came for: who survives, in one sentence and a few bars."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from mmrobust.figures.facts import attack_facts
from mmrobust.figures.few import MOST
from mmrobust.figures.style import defence_colours, label
from mmrobust.figures.table import DIRECTIONS, Grid, by_cell, select, strongest_attack
from mmrobust.report.words import count, percent

BASELINE = "standard"


@dataclass(frozen=True, kw_only=True)
class Survival:
    """Mean recall at 1 over seeds, clean and attacked, in [0, 1]; None if not computed."""

    direction: str
    clean: float | None
    attacked: float | None


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A defence and what is left of it under the strongest attack."""

    defence: str
    colour: str
    survivals: list[Survival]


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The strongest attack, the defences under it, and the sentences that sum them up.

    `worst` is about the worst case over several attacks; empty if the study has no ensemble.
    """

    attack: str
    sentence: str
    tiles: list[Tile]
    worst: str = ""

    @property
    def compact(self) -> bool:
        """Whether there are more tiles than colours tell apart: small ones of one colour."""
        return len(self.tiles) > MOST

    @property
    def scale(self) -> float:
        """The largest recall of all tiles: bars are drawn in proportion to it."""
        survivals = [survival for tile in self.tiles for survival in tile.survivals]
        known = [value for s in survivals for value in (s.clean, s.attacked) if value]
        return max(known, default=1.0)


def headline(metrics: pd.DataFrame, grid: Grid) -> Headline | None:
    """The headline of a study, of one-image labels in the full gallery; None if nothing ran.

    The strongest attack is the one that leaves the least recall at 1 on average.
    """
    attack = strongest_attack(metrics, grid)
    if attack is None:
        return None
    cells = by_cell(select(metrics, metric="recall_at_k"))
    colours = defence_colours(grid.defences)
    tiles = [
        Tile(
            defence=defence,
            colour=colours[defence],
            survivals=[
                Survival(
                    direction=direction,
                    clean=_mean(cells[defence, "clean", direction]),
                    attacked=_mean(cells[defence, attack, direction]),
                )
                for direction in DIRECTIONS
            ],
        )
        for defence in grid.defences
    ]
    return Headline(
        attack=attack, sentence=_sentence(attack, tiles), tiles=tiles, worst=_worst(metrics, grid)
    )


def _worst(metrics: pd.DataFrame, grid: Grid) -> str:
    """What is left in the worst case over several attacks."""
    facts = attack_facts(metrics)
    together = [name for name in grid.attacks if name in facts and facts[name].ensemble]
    cells = by_cell(select(metrics, metric="recall_at_k", protocol="own_pair"))
    sentences = []
    for attack in together:
        left = {name: _mean(cells[name, attack, "i2t"]) for name in grid.defences}
        known = sorted((-value, name) for name, value in left.items() if value is not None)
        if known:
            kept = ", ".join(f"{label(name)} {percent(-value)} %" for value, name in known)
            images = count(facts[attack].attacked_images)
            if len(known) > MOST:
                kept = _ends(known)
            sentences.append(
                f"In the worst case over several attacks ({label(attack)}, on {images} images, "
                f"each query's own pair attacked) this is left: {kept}."
            )
    return " ".join(sentences)


def _ends(known: list[tuple[float, str]]) -> str:
    """The three that keep the most and the one that keeps the least, of many in that order."""
    told = ", ".join(f"{label(name)} {percent(-value)} %" for value, name in known[:3])
    value, name = known[-1]
    return f"{told}; of {len(known)} defences {label(name)} keeps the least, {percent(-value)} %"


def _mean(cell: pd.DataFrame) -> float | None:
    known = cell["value"].dropna()
    return None if known.empty else float(known.mean())


def _sentence(attack: str, tiles: list[Tile]) -> str:
    first = {tile.defence: tile.survivals[0] for tile in tiles}
    parts = []
    base = first.get(BASELINE)
    if base and base.clean is not None and base.attacked is not None:
        parts.append(
            f"{label(attack)} takes the undefended model from {percent(base.clean)} % to "
            f"{percent(base.attacked)} % recall at 1 (image query)"
        )
    defended = {
        name: survival.attacked
        for name, survival in first.items()
        if name != BASELINE and survival.attacked is not None
    }
    if defended:
        best = max(defended, key=lambda name: defended[name])
        others = len([name for name in first if name != BASELINE]) > len(defended)
        most = "the most of those measured, " if others else "the most, "
        keeps = (
            f"{label(best)} keeps {most if len(defended) > 1 else ''}{percent(defended[best])} %"
        )
        parts.append(keeps if parts else f"Under {label(attack)}, {keeps}")
    return "; ".join(parts) + "." if parts else ""
