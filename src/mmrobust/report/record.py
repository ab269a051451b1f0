"""What the tables of record of a finished study are made of, read from `results/<study>/` alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from mmrobust.artifacts import MAKE, remade
from mmrobust.disk import missing
from mmrobust.errors import UserError
from mmrobust.figures.sweeps import own_rows
from mmrobust.figures.table import Grid, grid_of, read_metrics
from mmrobust.parts import Only
from mmrobust.report.augmentations import Estimates, Measured, read_augmentations, read_estimates
from mmrobust.report.flags import Flag, raised_cells, read_flags
from mmrobust.report.inputs import read_claims, read_facts
from mmrobust.report.tables import Cells
from mmrobust.sweep_table import Point, read_points

Table = TypeVar("Table")


@dataclass(frozen=True, kw_only=True)
class Record:
    """A finished study.

    Fields:
        metrics: rows of `metrics.csv`.
        whole: every defence, those of sweeps among them.
        own: the defences that the study writes, and what was run on them.
        points: of `sweeps.csv`.
        claims: rows of `claims.csv`.
        flags: of `flags.csv`, those raised first.
        sets: augmented sets with all their augmentations.
        estimates: of these and of fewer augmentations.
        jobs: facts that each job left in the results, at least one.
    """

    metrics: pd.DataFrame
    whole: Grid
    own: Grid
    points: list[Point]
    claims: list[dict[str, Any]]
    flags: list[Flag]
    sets: list[Measured]
    estimates: Estimates
    jobs: list[dict[str, Any]]

    @property
    def several_seeds(self) -> bool:
        """Whether defences were trained more than once."""
        return len(self.whole.seeds) > 1

    @property
    def flagged(self) -> Cells:
        """Cells with a raised flag."""
        return raised_cells(self.flags)


@remade()
def read_results(results: Path) -> Record:
    """Read a finished study.

    Which attacks are run on which defences is what the table says: a finished study misses none.

    Raises:
        UserError: a table is missing or broken, there are no results, or no job left its facts.
    """
    metrics = read_metrics(results / "metrics.csv")
    if metrics.empty:
        raise UserError(f"{results / 'metrics.csv'}: no results")
    points = read_points(results / "sweeps.csv")
    own, grid = own_rows(metrics, points), grid_of(metrics, only=run_on_some(metrics))
    augmentations = results / "augmentations.csv"
    return Record(
        metrics=metrics,
        whole=grid,
        own=grid_of(own, only=run_on_some(own)),
        points=points,
        claims=_there(read_claims(path := results / "claims.csv"), path),
        flags=_there(read_flags(path := results / "flags.csv"), path),
        sets=read_augmentations(augmentations),
        estimates=read_estimates(augmentations),
        jobs=_jobs(results, grid),
    )


def run_on_some(metrics: pd.DataFrame) -> Only:
    """The defences of those cells that the table doesn't have of every defence."""
    everyone = metrics["defence"].nunique()
    of = {str(name): list(rows.unique()) for name, rows in metrics.groupby("attack")["defence"]}
    return {name: defences for name, defences in of.items() if len(defences) < everyone}


def _there(table: Table | None, path: Path) -> Table:
    if table is None:
        raise missing(path, MAKE)
    return table


def _jobs(results: Path, grid: Grid) -> list[dict[str, Any]]:
    """What the jobs of the study left, without those of an earlier form of it."""
    own = {(defence, f"seed{seed}") for defence in grid.defences for seed in grid.seeds}
    found = []
    for path in sorted(results.rglob("run.json")):
        model = path.parent.relative_to(results).parts[1:]  # after `models`, `cells` or `judge`
        if not model or model in own:
            found.append(read_facts(path))
    if not found:
        raise UserError(f"{results}: no job left its run.json, so machine and code are unknown")
    return found
