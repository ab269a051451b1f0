"""The small print of a figure: what was measured, on how much, and what to keep in mind."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mmrobust.figures.style import label
from mmrobust.figures.table import CELL, Grid

SQUASHED = "128x128"
VARYING = "varying"
DOT = "\N{NO-BREAK SPACE}· "
INTERVALS = {
    "bootstrap_percentile": "bootstrap percentile",
    "clopper_pearson": "Clopper-Pearson",
}


def of_255(eps: float) -> str:
    """A pixel budget as the papers write it: `0.00784...` -> `2/255`."""
    steps = eps * 255
    # single precision leaves a few millionths beside a whole number
    return f"{round(steps)}/255" if abs(steps - round(steps)) < 1e-3 else f"{steps:.3g}/255"


def resolution(rows: pd.DataFrame) -> str:
    """`source_resolution` of the rows of a study, which are all of the same pictures."""
    return "" if rows.empty else str(rows["source_resolution"].iloc[0])


def copies(source_resolution: str) -> str:
    """What numbers of resampled photographs are titled with; empty for other pictures.

    Args:
        source_resolution: `WxH` of the stored photographs, `varying` for those as they were
            taken, empty for rendered images.
    """
    resampled = source_resolution not in ("", VARYING)
    return f"photographs at {source_resolution} pixels" if resampled else ""


def resolution_note(source_resolution: str, dataset: str) -> str:
    """What to keep in mind about the pictures a number was measured on; empty if nothing.

    Args:
        source_resolution: as for `copies`.
        dataset: the dataset's name.
    """
    if source_resolution == SQUASHED:
        return (
            f"photographs squashed to {SQUASHED.replace('x', ' x ')} pixels and recompressed, a "
            f"mild defence in itself: not comparable with published {dataset} numbers"
        )
    return copies(source_resolution)


def describe(rows: pd.DataFrame, grid: Grid) -> str:
    """Dataset, n, gallery, seeds and interval of the rows that a figure of `grid` draws."""
    if rows.empty:
        return "no results yet"
    dataset = str(rows["dataset"].iloc[0])
    parts = [f"dataset {dataset}", _sample_sizes(rows), _gallery(rows)]
    parts += [_seeds(rows, grid), _interval(rows)]
    parts.append(resolution_note(resolution(rows), dataset))
    if any(not grid.has(of, attack) for attack in set(rows["attack"]) for of in grid.defences):
        parts.append("not every attack is run on every defence")
    # a dot never starts a line
    return DOT.join(part for part in parts if part)


def _span(values: pd.Series[float]) -> str:
    """`2,000`, or `1,210-1,980` where the values differ."""
    ends = [f"{end:,.1f}".removesuffix(".0") for end in (values.min(), values.max())]
    return "-".join(dict.fromkeys(ends))


def _sample_sizes(rows: pd.DataFrame) -> str:
    sizes = {d: _span(rows["n"][rows["direction"] == d]) for d in sorted(set(rows["direction"]))}
    return "n = " + ", ".join(f"{size} ({direction})" for direction, size in sizes.items())


def _gallery(rows: pd.DataFrame) -> str:
    images, captions = _span(rows["gallery_images"]), _span(rows["gallery_captions"])
    return f"galleries of {images} images and {captions} captions"


def _seeds(rows: pd.DataFrame, grid: Grid) -> str:
    seeds = [str(int(seed)) for seed in sorted(set(rows["seed"]))]
    fewest = rows.drop_duplicates(CELL).groupby(["defence", "attack"])["seed"].count().min()
    star = " (* not all of them)" if fewest < len(grid.seeds) else ""
    return f"training seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}{star}"


def _interval(rows: pd.DataFrame) -> str:
    rows = rows.dropna(subset=["value"])
    if rows.empty:
        return ""
    names = " / ".join(INTERVALS[name] for name in dict.fromkeys(rows["interval"]))
    several = rows["seed"].nunique() > 1
    who = "means over seeds; dots: each seed with its" if several else "whiskers:"
    return f"{who} {100 * rows['confidence'].iloc[0]:g} % {names} interval"


def titled(study: str, what: str, source_resolution: str) -> str:
    """The title of a figure: what it shows, after the study's name if there is one.

    Figures of resampled photographs say so in the title.
    """
    small = copies(source_resolution)
    before = f"{study} ({small})" if study and small else study or small
    title = f"{before}: {what}" if before else what
    return title[0].upper() + title[1:] if not study else title


def protocol_note(protocol: str) -> str:
    """What the attacker may touch, to be put after `describe`."""
    words = {
        "full_gallery": "whole gallery attacked at once",
        "own_pair": "only the query's own image and captions attacked, distractors clean",
    }
    return DOT + words[protocol]


def elsewhere_note(whole: Grid, drawn: Grid) -> str:
    """Which attacks of a study a figure leaves out for lack of its protocol; empty for none."""
    left_out = [label(name) for name in whole.attacks if name not in drawn.attacks]
    if not left_out:
        return ""
    return f"{DOT}not measured this way, but with their own pairs alone: {', '.join(left_out)}"


PANEL_ROOM = 54
"""Characters that fit into one of two panels abreast."""


def missing(names: Sequence[str], *, room: int, apart: str = ", ") -> str:
    """What is missing, in at most about `room` characters: `missing: TeCoA, FARE and 4 more`."""
    for shown in range(len(names), 0, -1):
        more = f" and {len(names) - shown} more" if shown < len(names) else ""
        text = "missing: " + apart.join(names[:shown]) + more
        if len(text) <= room:
            return text
    return f"missing: {len(names)} of them"
