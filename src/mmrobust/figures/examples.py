"""A few attacked items to look at: pictures, perturbation, changed words, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mmrobust.example_records import read_examples
from mmrobust.figures.facts import attack_facts
from mmrobust.figures.notes import DOT, copies, resolution_note, titled
from mmrobust.figures.sheet import CHARACTER, LOST, PICTURE, Sheet, Word
from mmrobust.figures.style import (
    MUTED,
    blank_figure,
    defence_colours,
    house_style,
    label,
)
from mmrobust.figures.table import Grid, select

WIDTH = 12.6
LINE, SPACE = 0.2, 0.12
TEXT_LEFT, TEXT_RIGHT = 0.2 + 3 * (PICTURE + 0.15) + 0.1, 0.2
INDENT = 2
"""Characters by which the further lines of a caption are set in."""
RANKS = 1.5
"""Inches for the ranks, right of the captions."""
BLOCKS = 15
"""How many blocks a reader looks through: three items under five defences."""


def changed_words(before: str, after: str) -> list[Word]:
    """Words of a caption with those that took their places; texts are split at single spaces."""
    return list(zip_longest(before.split(" "), after.split(" "), fillvalue=""))


def wrapped(words: Sequence[Word], characters: int) -> list[list[Word]]:
    """Words on lines of at most `characters`, counting both forms of those that changed."""
    lines: list[list[Word]] = [[]]
    used = 0
    for word in words:
        size = sum(len(form) + 1 for form in dict.fromkeys(word) if form)
        if lines[-1] and used + size > characters:
            lines.append([])
            used = 0
        lines[-1].append(word)
        used += size
    return lines


def joint_attack(metrics: pd.DataFrame, among: Sequence[str]) -> str | None:
    """The attack to show: of those `among`, the joint one that leaves the least recall at 1.

    An attack whose captions must stay true goes before one that may lie, and one that knows the
    model before a transferred one. Where no attack is joint, the strongest of any kind is taken;
    None if none has been measured.
    """
    rows = select(metrics, metric="recall_at_k", protocol="own_pair")
    means = rows[rows["attack"].isin(among)].groupby("attack")["value"].mean().dropna()
    facts = attack_facts(metrics)
    ranked = sorted(
        means.index,
        key=lambda name: (
            not facts[name].joint,
            facts[name].may_lie,
            facts[name].knowledge != "white_box",
            means[name],
            name,
        ),
    )
    return str(ranked[0]) if ranked else None


def read_shown(
    results: Path, metrics: pd.DataFrame, grid: Grid, *, attack: str | None = None
) -> tuple[str | None, dict[str, pd.DataFrame]]:
    """The attack to show, and its examples by defence, for the study's first seed.

    Args:
        results: the folder `results/<study>/`.
        metrics: rows of `metrics.csv`.
        grid: defences, attacks and seeds of the study.
        attack: the attack to show; if not given, `joint_attack` of those with examples, and of
            those that are run on every defence before others.

    Raises:
        UserError: a file of examples is broken.
    """
    if not grid.seeds:
        return attack, {}
    folders = {
        defence: results / "examples" / defence / f"seed{grid.seeds[0]}"
        for defence in grid.defences
    }
    there = [
        name
        for name in grid.attacks
        if any(
            grid.has(defence, name) and (folder / f"{name}.parquet").is_file()
            for defence, folder in folders.items()
        )
    ]
    attack = attack or joint_attack(metrics, grid.on_all(there) or there)
    files = {
        defence: folder / f"{attack}.parquet"
        for defence, folder in folders.items()
        if attack is not None and grid.has(defence, attack)
    }
    found = {defence: file for defence, file in files.items() if file.is_file()}
    return attack, {defence: read_examples(file) for defence, file in found.items()}


@dataclass(frozen=True, kw_only=True)
class Block:
    """An attacked item under one defence; `row` is None where it is missing."""

    defence: str
    row: dict[str, Any] | None
    captions: list[list[list[Word]]]

    @property
    def height(self) -> float:
        """Inches that pictures and captions take."""
        lines = 1.35 + sum(len(caption) + 0.18 for caption in self.captions)
        return max(PICTURE + 0.22, LINE * lines) if self.row is not None else 0.5


def plot_examples(
    examples: Mapping[str, pd.DataFrame],
    *,
    attack: str | None,
    budget: str = "",
    title: str = "",
    grid: Grid,
    source_resolution: str = "",
    dataset: str = "",
    note: str = "",
    items: int | None = None,
) -> Figure:
    """The first items of the examples under every defence that the attack is run on, a block each.

    Args:
        examples: rows as `evaluation.example_records` stores them, by defence.
        attack: what was run.
        budget: what it knew and was allowed, in brief.
        title: name of the study.
        grid: defences and seeds of the study; the examples are of the first seed.
        source_resolution: `WxH` of the stored photographs, or empty.
        dataset: the dataset's name.
        note: which defences are left out, as `few` says it.
        items: how many are shown; those with the lowest numbers, whatever became of them. Three if
            not given, and fewer where that is more than `BLOCKS` blocks.
    """
    shown = [name for name in grid.defences if attack is None or grid.has(name, attack)]
    if items is None:
        items = min(3, max(1, BLOCKS // max(len(shown), 1)))
    images = sorted({int(image) for table in examples.values() for image in table["image"]})[:items]
    blocks = {image: [_block(examples, name, image) for name in shown] for image in images}
    heights = {
        image: 0.34 + sum(block.height + 0.3 for block in of) + SPACE
        for image, of in blocks.items()
    }
    few_or_one = "a test item" if len(images) == 1 else "a few test items"
    what = f"what {label(attack) if attack else 'an attack'} does to {few_or_one}"
    with house_style():
        figure, header = blank_figure(
            (WIDTH, sum(heights.values()) if images else 1.2),
            title=titled(title, what, source_resolution),
            note=_note(grid, budget, source_resolution, dataset) + note,
            legend=False,
        )
        page = Sheet(figure)
        y = header
        if not images:
            text = "no examples: the study keeps none, or none have been computed"
            page.text(0.2, y + 0.4, text, color=MUTED, size=13)
        for image, of in blocks.items():
            page.rule(y)
            page.text(0.2, y + 0.22, f"test image {image}", weight="bold", size=12)
            down = y + 0.34
            for block in of:
                _draw_block(page, block, down, defence_colours(grid.defences)[block.defence])
                down += block.height + 0.3
            y += heights[image]
    return figure


def _note(grid: Grid, budget: str, source_resolution: str, dataset: str) -> str:
    parts = [
        budget,
        "a fixed draw of test images, not chosen by outcome",
        "only the item's own image and captions attacked, distractors clean",
        f"training seed {grid.seeds[0]}" if grid.seeds else "",
        "ranks of the item's own answer, before and after; rank 1 is right",
        "false: the caption is no longer true of its image",
        resolution_note(source_resolution, dataset) if copies(source_resolution) else "",
    ]
    return DOT.join(part for part in parts if part)


def _block(examples: Mapping[str, pd.DataFrame], defence: str, image: int) -> Block:
    table = examples.get(defence)
    rows = [] if table is None else table[table["image"] == image].to_dict("records")
    if not rows:
        return Block(defence=defence, row=None, captions=[])
    row: dict[str, Any] = {str(key): value for key, value in rows[0].items()}
    fits = int((WIDTH - TEXT_LEFT - TEXT_RIGHT - RANKS) / CHARACTER) - INDENT
    captions = [
        wrapped(changed_words(before, after), fits)
        for before, after in zip(row["captions"], row["adversarial_captions"], strict=True)
    ]
    return Block(defence=defence, row=row, captions=captions)


def _draw_block(page: Sheet, block: Block, y: float, colour: str) -> None:
    page.swatch(0.2, y + 0.04, colour)
    page.text(0.42, y + 0.15, label(block.defence), weight="bold", size=10.5)
    if block.row is None:
        page.text(0.2 + 1.6, y + 0.15, "missing", color=MUTED, size=10.5)
        return
    top, row = y + 0.26, block.row
    magnified = f"change \N{MULTIPLICATION SIGN} {_factor(row['magnification'])}"
    for at, (key, under) in enumerate(
        {"clean": "clean", "adversarial": "attacked", "perturbation": magnified}.items()
    ):
        x = 0.2 + at * (PICTURE + 0.15)
        page.picture(x, top, row[key])
        page.text(x, top + PICTURE + 0.16, under, color=MUTED)
    down = top + 0.1
    right = WIDTH - TEXT_RIGHT
    page.text(TEXT_LEFT, down, "image asks for its captions", color=MUTED)
    page.ranks(right, down, row["i2t_rank"], row["adversarial_i2t_rank"])
    down += 1.35 * LINE
    for at, lines in enumerate(block.captions):
        page.ranks(right, down, row["t2i_ranks"][at], row["adversarial_t2i_ranks"][at])
        changed = any(before != after for line in lines for before, after in line)
        if changed and row["captions_true"][at] == 0:
            page.text(right - RANKS + 0.02, down, "false", color=LOST, weight="bold")
        for number, line in enumerate(lines):
            page.words(TEXT_LEFT + (INDENT * CHARACTER if number else 0), down, line)
            down += LINE
        down += 0.18 * LINE


def _factor(magnification: float) -> str:
    return f"{magnification:.0f}" if magnification >= 9.95 else f"{magnification:.1f}"
