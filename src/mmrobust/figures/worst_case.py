"""Recall at 1 of every defence in the worst case over several attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from mmrobust.figures.bars import say_nothing
from mmrobust.figures.facts import AttackFacts, attack_facts
from mmrobust.figures.notes import DOT, describe, protocol_note
from mmrobust.figures.recall_rows import draw_rows
from mmrobust.figures.style import house_style, label
from mmrobust.figures.table import Grid, grid_of, select


def plot_worst_case(
    metrics: pd.DataFrame,
    *,
    title: str = "",
    grid: Grid | None = None,
    gallery_images: int | None = None,
) -> Figure:
    """Recall at 1 on clean inputs and under each ensemble, a row a defence, under own_pair.

    Every defence that an ensemble is run on has its row, however many there are; the others are
    named below the title.

    Args:
        metrics: rows of `metrics.csv`.
        title: name of the study.
        grid: defences, attacks and seeds to draw; found in the table if not given.
        gallery_images: gallery size to draw; the study's main one if not given.
    """
    whole, facts = grid or grid_of(metrics), attack_facts(metrics)
    together = tuple(
        name
        for name in whole.attacks
        if name in facts
        and facts[name].ensemble
        and any(whole.has(of, name) for of in whole.defences)
    )
    run_on = tuple(of for of in whole.defences if any(whole.has(of, name) for name in together))
    shown = replace(whole, defences=run_on, attacks=("clean", *together) if together else ())
    rows = select(metrics, metric="recall_at_k", protocol="own_pair", gallery_images=gallery_images)
    rows = rows[rows["attack"].isin(shown.attacks) & rows["defence"].isin(run_on)]
    note = DOT.join(
        [
            describe(rows, shown) + protocol_note("own_pair"),
            *(f"{label(name)}: {_allowed(facts[name])}" for name in together),
            *(["clean is of all images"] if any(facts[name].partial for name in together) else []),
            *_not_run_on([of for of in whole.defences if of not in run_on]),
        ]
    )
    nothing = "no results yet" if metrics.empty else "no worst case over several attacks"
    with house_style():
        figure = draw_rows(
            rows,
            shown,
            title=title,
            what="recall at 1 in the worst case",
            note=note if together else nothing,
        )
        for panel in [] if together else figure.axes:
            panel.set_xticks([])
            say_nothing(panel, nothing)
    return figure


def _allowed(facts: AttackFacts) -> str:
    lies = ["captions may become false"] if facts.may_lie else []
    return ", ".join([*facts.in_brief_on_how_much().split(DOT), *lies])


def _not_run_on(defences: Sequence[str]) -> list[str]:
    return [f"not run on: {', '.join(map(label, defences))}"] if defences else []
