"""Every attack of a study on one page: from the weakest to the strongest, ensembles apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmrobust.ensembles import has_recall
from mmrobust.figures.bars import EDGE_INCHES, chance_handle, defence_legend, say_nothing
from mmrobust.figures.facts import AttackFacts, attack_facts
from mmrobust.figures.few import few
from mmrobust.figures.notes import DOT, describe, protocol_note, resolution, titled
from mmrobust.figures.rows import across, tell_missing
from mmrobust.figures.style import (
    GRID,
    INK,
    MISSING,
    MUTED,
    defence_colours,
    house_style,
    label,
    new_figure,
    panel_title,
)
from mmrobust.figures.table import DIRECTIONS, Cells, Grid, by_cell, grid_of, select

ROW_INCHES = 0.46
LEFT_INCHES, RIGHT_INCHES = 3.3, 1.75
CHARACTER_INCHES = 0.064
MAY_LIE = "†"
APART = 0.9
"""Rows left free above the ensembles, for their heading."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """An attack and the height, in rows from the top, at which it is drawn."""

    attack: str
    at: float
    facts: AttackFacts | None

    def brief(self) -> str:
        """What the attacker may do, and on how much; empty for nothing."""
        return "" if self.facts is None else self.facts.in_brief_on_how_much()


def by_strength(rows: pd.DataFrame, grid: Grid) -> list[str]:
    """Attacks of the grid by the recall that they leave, the most first; unknown ones last.

    On average over the defences that all of them are run on: recall on a strong defence says
    nothing of an attack beside that of another on a weak one. Where none has them all, over all.
    """
    shared = [of for of in grid.defences if all(grid.has(of, name) for name in grid.attacks)]
    compared = rows[rows["defence"].isin(shared)] if shared else rows
    means = compared.groupby("attack")["value"].mean()
    names = [name for name in grid.attacks if name != "clean"]
    names.sort(key=lambda name: -float(means.get(name, -1.0)))
    return [name for name in grid.attacks if name == "clean"] + names


def plot_attack_overview(
    metrics: pd.DataFrame,
    *,
    title: str = "",
    grid: Grid | None = None,
    gallery_images: int | None = None,
) -> Figure:
    """Recall at 1 under every attack cell, by defence, under the protocol own_pair.

    Attacks stand in the order of their strength, which is the mean recall that they leave over
    the defences that all of them are run on and over directions; ensembles stand apart, in the
    order of the study; points of curves are left out.

    Args:
        metrics: rows of `metrics.csv`.
        title: name of the study.
        grid: defences, attacks and seeds to draw; found in the table if not given.
        gallery_images: gallery size to draw; the study's main one if not given.
    """
    facts = attack_facts(metrics)
    part = few(metrics, grid or grid_of(metrics))
    metrics, grid = part.metrics, part.grid
    rows = select(metrics, metric="recall_at_k", protocol="own_pair", gallery_images=gallery_images)
    lines = _lines(rows, grid, facts)
    height = lines[-1].at + 1 if lines else 3
    longest = max((len(line.brief()) for line in lines), default=0)
    left = max(LEFT_INCHES, 2 * EDGE_INCHES + CHARACTER_INCHES * longest)
    lies = any(line.facts is not None and line.facts.may_lie for line in lines)
    with house_style():
        figure, axes = new_figure(
            (12.6, ROW_INCHES * height + 0.75),
            shape=(1, 2),
            title=titled(title, "what every attack leaves of recall at 1", resolution(rows)),
            note="attacks from weakest to strongest"
            + DOT
            + describe(rows, grid)
            + protocol_note("own_pair")
            + part.note
            + (f"{DOT}{MAY_LIE} captions may become false" if lies else ""),
            left=left,
            right=RIGHT_INCHES if lies else 0.3,
            bottom=0.75,
        )
        cells = by_cell(rows)
        top = max([100 * float(rows["high"].max())] if not rows.empty else [100.0])
        for panel, direction in zip(axes[0], DIRECTIONS, strict=True):
            panel_title(
                panel, f"{direction}: {DIRECTIONS[direction]}", under="scored by one-image labels"
            )
            across(panel, top=top)
            panel.set_ylim(height - 0.5, 0)
            for line in lines:
                panel.axhline(line.at + 0.5, color=GRID, linewidth=0.9, zorder=0.5)
                _draw(panel, line, cells, grid, direction)
            if not rows.empty:
                share = 100 / float(rows["gallery_images"].iloc[0])
                panel.axvline(share, color=MUTED, linestyle=":", linewidth=1.3)
            if not lines:
                say_nothing(panel)
            for line in lines:
                if line.facts is not None and line.facts.ensemble:
                    panel.axhline(line.at - 0.5 - APART, color=MISSING, linewidth=1.4)
                    break
        _name_attacks(axes[0][0], lines, room=left - EDGE_INCHES)
        if lies:
            _tell_truth(axes[0][1], lines)
        defence_legend(figure, grid, [chance_handle()] if not rows.empty else [])
    return figure


def _lines(rows: pd.DataFrame, grid: Grid, facts: dict[str, AttackFacts]) -> list[Line]:
    together = [name for name in grid.attacks if name in facts and facts[name].ensemble]
    alone = replace(grid, attacks=tuple(name for name in grid.attacks if name not in together))
    names = [*by_strength(rows, alone), *together]
    single = len(names) - len(together)
    return [
        Line(attack=name, at=at + (APART if at >= single else 0.0) + 0.5, facts=facts.get(name))
        for at, name in enumerate(names)
    ]


def _draw(
    axes: Axes,
    line: Line,
    cells: Cells,
    grid: Grid,
    direction: str,
) -> None:
    if line.facts is not None and not has_recall(line.facts.worst_case, direction):
        return
    colours = defence_colours(grid.defences)
    missing: list[str] = []
    drawn: list[float] = []
    for order, defence in enumerate(grid.defences):
        cell = cells[defence, line.attack, direction].dropna(subset=["value"])
        if cell.empty:
            missing += [label(defence)] if grid.has(defence, line.attack) else []
            continue
        step = 0.56 / max(len(grid.defences) - 1, 1)
        y = line.at + step * (order - (len(grid.defences) - 1) / 2)
        value, low, high = (100 * cell[name] for name in ("value", "low", "high"))
        colour = colours[defence]
        axes.hlines([y] * len(cell), low, high, color=colour, linewidth=1.6, alpha=0.75)
        if len(cell) > 1:
            axes.plot(value, [y] * len(cell), ".", color=colour, markersize=4, alpha=0.75)
        (dot,) = axes.plot([value.mean()], [y], "o", color=colour, markersize=6)
        drawn.append(float(value.mean()))
        dot.set_gid(f"{direction}/{defence}/{line.attack}")
    tell_missing(axes, line.at, missing, drawn)


def _name_attacks(axes: Axes, lines: list[Line], *, room: float) -> None:
    """Names left of the panel, from `room` inches before it."""
    blend = axes.get_yaxis_transform()  # x as a share of the panel, y in rows
    width = axes.get_position().width * axes.get_figure().get_size_inches()[0]  # type: ignore[union-attr]
    x = -room / width
    for line in lines:
        facts = line.facts
        brief = line.brief()
        mark = f" {MAY_LIE}" if facts is not None and facts.may_lie else ""
        name = label(line.attack) + mark
        over = 0.2 if brief else 0.0
        left: dict[str, Any] = {"transform": blend, "ha": "left", "va": "center"}
        axes.text(x, line.at - over, name, fontsize=11, color=INK, weight="bold", **left)
        axes.text(x, line.at + 0.24, brief, fontsize=9, color=MUTED, **left)
    together = [line for line in lines if line.facts is not None and line.facts.ensemble]
    if together:
        y = together[0].at - 0.5 - APART
        text = "worst case per query over several attacks"
        axes.text(x, y + 0.55, text, transform=blend, fontsize=9.5, color=MUTED, va="center")
        axes.plot([x, 0], [y, y], transform=blend, color=MISSING, linewidth=1.4, clip_on=False)


def _tell_truth(axes: Axes, lines: list[Line]) -> None:
    """Right of the panel: how many of the attacked captions are still true."""
    left: dict[str, Any] = {"ha": "left", "va": "center"}
    left["transform"] = axes.get_yaxis_transform()
    axes.annotate(
        "captions still true",
        (1.03, 1),
        xytext=(0, 10),
        xycoords="axes fraction",
        textcoords="offset points",
        color=MUTED,
        fontsize=9.5,
    )
    for line in lines:
        facts = line.facts
        if facts is None or facts.words is None:
            continue
        told = facts.truth_words()
        if not told:
            told, colour = ("kept true" if facts.keeps_truth else "undecided"), MUTED
        else:
            colour = INK
        axes.text(1.03, line.at, told, fontsize=10.5, color=colour, **left)
