"""The small print of a figure: what was measured, on how much, and what to keep in mind."""

from __future__ import annotations

import pandas as pd

from mmrobust.figures.table import CELL, Grid

COPIES = "128x128"
DOT = "\N{NO-BREAK SPACE}· "
INTERVALS = {
    "bootstrap_percentile": "bootstrap percentile",
    "clopper_pearson": "Clopper-Pearson",
}


def resolution_note(source_resolution: str | None, dataset: str) -> str:
    """What to keep in mind about the pictures a number was measured on; empty if nothing.

    Args:
        source_resolution: `WxH` of the stored photographs, or empty for rendered images.
        dataset: the dataset's name.
    """
    if source_resolution in (None, "", "null"):
        return ""
    size = str(source_resolution).replace("x", " x ")
    if source_resolution == COPIES:
        return (
            f"photographs squashed to {size} pixels and recompressed, a mild defence in itself: "
            f"not comparable with published {dataset} numbers"
        )
    return f"photographs of {size} pixels"


def describe(rows: pd.DataFrame, grid: Grid) -> str:
    """Dataset, n, gallery, seeds and interval of the rows that a figure of `grid` draws."""
    if rows.empty:
        return "no results yet"
    parts = [f"dataset {'/'.join(dict.fromkeys(rows['dataset']))}", _sample_sizes(rows)]
    parts += _gallery(rows)
    parts.append(_seeds(rows, grid))
    parts.append(_interval(rows))
    for dataset, resolution in dict.fromkeys(
        zip(rows["dataset"], rows["source_resolution"], strict=True)
    ):
        parts.append(resolution_note(resolution, dataset))
    # a dot never starts a line
    return DOT.join(part for part in parts if part)


def span(values: pd.Series[float]) -> str:
    """`2,000`, or `1,210-1,980` where the values differ; empty if there are none."""
    known = values.dropna()
    ends = [f"{end:,.1f}".removesuffix(".0") for end in (known.min(), known.max())]
    return "" if known.empty else "-".join(dict.fromkeys(ends))


def _sample_sizes(rows: pd.DataFrame) -> str:
    sizes = {d: span(rows["n"][rows["direction"] == d]) for d in sorted(set(rows["direction"]))}
    return "n = " + ", ".join(f"{size} ({direction})" for direction, size in sizes.items() if size)


def _gallery(rows: pd.DataFrame) -> list[str]:
    images, captions = span(rows["gallery_images"]), span(rows["gallery_captions"])
    if not images:
        return []
    return [f"galleries of {images} images" + (f" and {captions} captions" if captions else "")]


def _seeds(rows: pd.DataFrame, grid: Grid) -> str:
    seeds = [str(int(seed)) for seed in sorted(set(rows["seed"].dropna()))]
    fewest = rows.drop_duplicates(CELL).groupby(["defence", "attack"])["seed"].count().min()
    star = " (* not all of them)" if fewest < len(grid.seeds) else ""
    return f"training seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}{star}"


def _interval(rows: pd.DataFrame) -> str:
    names = " / ".join(
        INTERVALS.get(name, name) for name in dict.fromkeys(rows["interval"]) if name
    )
    level = rows["confidence"].dropna()
    share = f"{100 * level.iloc[0]:g} % " if not level.empty else ""
    several = rows["seed"].nunique() > 1
    who = "means over seeds; dots: each seed with its" if several else "whiskers:"
    return f"{who} {share}{names} interval" if names else ""


def titled(study: str, what: str, rows: pd.DataFrame | None = None) -> str:
    """The title of a figure: what it shows, after the study's name if there is one.

    Figures of the small copies of photographs say so in the title.
    """
    copies = rows is not None and (rows["source_resolution"] == COPIES).any()
    before = " ".join(part for part in (study, "(128 px copies)" if copies else "") if part)
    return f"{before}: {what}" if before else what[0].upper() + what[1:]


def protocol_note(protocol: str) -> str:
    """What the attacker may touch, to be put after `describe`."""
    words = {
        "full_gallery": "whole gallery attacked at once",
        "own_pair": "only the query's own image and captions attacked, distractors clean",
    }
    return DOT + words.get(protocol, protocol)
