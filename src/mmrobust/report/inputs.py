"""What a report is made of, read from `results/<study>/`; every piece may still be missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from mmrobust.artifacts import read_json, remade
from mmrobust.errors import UserError
from mmrobust.evaluation.records import read_record
from mmrobust.figures.sweeps import laid_out
from mmrobust.figures.table import Grid, grid_of, read_metrics
from mmrobust.parts import limited
from mmrobust.report.augmentations import Measured, read_augmentations
from mmrobust.report.flags import Flag, read_flags
from mmrobust.report.rows import read_rows
from mmrobust.sweep_table import Point, read_points

VERDICTS = ("reproduced", "contradicted", "inconclusive", "missing")
CLAIM_TEXT = ("id", "statement", "source", "study", "statistic", "verdict", "n", "seeds", "note")
FACTS = frozenset(
    {
        *("verb", "wall_s", "peak_memory_mb", "processor", "cores", "memory_gb"),
        *("python", "versions", "git_commit"),
    }
)
"""What a job tells of itself, see `mmrobust.runfacts`."""
CLAIM_NUMBERS = ("estimate", "low", "high", "confidence", "margin", "verdict_confidence")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job of the study and what its run took; `facts` is None if it left no record."""

    name: str
    facts: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that a report shows. Tables are empty, not None, where a file is missing.

    `own` is the grid without the defences that sweeps laid out, whose points are `points`.
    """

    grid: Grid
    own: Grid
    points: list[Point]
    metrics: pd.DataFrame | None
    claims: list[dict[str, Any]] | None
    flags: list[Flag] | None
    augmentations: list[Measured]
    history: pd.DataFrame
    cells: list[dict[str, Any]]
    jobs: list[Job]


@remade()
def read_inputs(cfg: dict[str, Any], results: Path) -> Inputs:
    """Read whatever of a study is there.

    Args:
        cfg: the study's configuration; fixes what should be there and in which order.
        results: the folder `results/<study>/`.

    Raises:
        UserError: a file is there but broken.
    """
    path = results / "metrics.csv"
    metrics = read_metrics(path) if path.is_file() else None
    grid = grid_of(
        pd.DataFrame(columns=["defence", "attack", "seed", "curve"])
        if metrics is None
        else metrics,
        defences=list(cfg["defences"]),
        attacks=cells_of(cfg),
        seeds=cfg["seeds"],
        only=limited(cfg["attacks"], cfg["ensembles"]),
    )
    points = read_points(results / "sweeps.csv")
    written = tuple(name for name in grid.defences if name not in laid_out(points))
    return Inputs(
        grid=grid,
        own=replace(grid, defences=written),
        points=points,
        metrics=metrics,
        claims=read_claims(results / "claims.csv"),
        flags=read_flags(results / "flags.csv"),
        augmentations=read_augmentations(results / "augmentations.csv"),
        history=_read_history(results / "models", grid),
        cells=_read_cells(results / "cells", grid),
        jobs=_read_jobs(results, grid),
    )


def cells_of(cfg: dict[str, Any]) -> list[str]:
    """Names of a study's cells without the points of its curves.

    An attack that isn't standalone has none: ensembles run it.
    """
    own = [
        name
        for name, entry in cfg["attacks"].items()
        if entry.get("standalone", True) and entry.get("curve") is None
    ]
    return ["clean", *own, *cfg["ensembles"]]


def read_claims(path: Path) -> list[dict[str, Any]] | None:
    """The rows of `claims.csv` with numbers as floats (None where empty); None if no file."""
    rows = read_rows(path, (*CLAIM_TEXT, *CLAIM_NUMBERS))
    if rows is None:
        return None
    claims: list[dict[str, Any]] = []
    for line, row in enumerate(rows, start=2):
        if row["verdict"] not in VERDICTS:
            raise UserError(
                f"{path}: line {line}: verdict is {row['verdict']!r} "
                f"(allowed: {', '.join(VERDICTS)})"
            )
        try:
            numbers = {name: _number(row[name]) for name in CLAIM_NUMBERS}
        except ValueError as error:
            raise UserError(f"{path}: line {line}: {error}") from None
        claims.append({name: row[name] for name in CLAIM_TEXT} | numbers)
    return claims


def _number(text: str) -> float | None:
    value = float(text) if text else float("nan")
    return None if value != value else value


def _read_history(models: Path, grid: Grid) -> pd.DataFrame:
    runs = [pd.DataFrame(columns=["defence", "seed", "step", "loss"])]
    for defence in grid.defences:
        for seed in grid.seeds:
            path = models / defence / f"seed{seed}" / "history.csv"
            if path.is_file():
                try:
                    run = pd.read_csv(path)
                except (ValueError, pd.errors.ParserError) as error:
                    raise UserError(f"{path}: not a CSV table ({error})") from None
                absent = {"step", "loss"} - set(run.columns)
                if absent:
                    raise UserError(f"{path}: column missing: {', '.join(sorted(absent))}")
                runs.append(run[["step", "loss"]].assign(defence=defence, seed=seed))
    return pd.concat(runs[1:], ignore_index=True) if len(runs) > 1 else runs[0]


def _read_cells(cells: Path, grid: Grid) -> list[dict[str, Any]]:
    places = (
        cells / defence / f"seed{seed}" / f"{attack}.json"
        for attack in grid.attacks
        for defence in grid.defences
        for seed in grid.seeds
        if grid.has(defence, attack)
    )
    return [read_record(path) for path in places if path.is_file()]


def _read_jobs(results: Path, grid: Grid) -> list[Job]:
    jobs = []
    for folder, verb in (("models", "train"), ("cells", "evaluate")):
        for defence in grid.defences:
            for seed in grid.seeds:
                path = results / folder / defence / f"seed{seed}" / "run.json"
                facts = read_facts(path) if path.is_file() else None
                jobs.append(Job(name=f"{verb} {defence}, seed {seed}", facts=facts))
    return jobs


def read_facts(path: Path) -> dict[str, Any]:
    """What a job told of itself, its `run.json`."""
    facts = read_json(path)
    if not isinstance(facts, dict) or not facts.keys() >= FACTS:
        raise UserError(f"{path}: not the facts of a run (wanted: {', '.join(sorted(FACTS))})")
    return facts
