"""The verb `report-so-far`: the report of a study of which some jobs failed, or still run.

The study's own tables and report are made when all that they show is there. This puts what is
there, and up to date, into a folder of its own beside them, where the rest is marked as missing.
Nothing of it is an input or an output of a job, and it can be made while a run goes on.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmrobust.augment.table import tabulate as tabulate_augmentations
from mmrobust.claims.ledger import judge_claims
from mmrobust.disk import make_folder, told_clearly
from mmrobust.errors import UserError
from mmrobust.evaluation.tables import tabulate
from mmrobust.figures.notebook import draw_figures
from mmrobust.pipeline.graph import planned_workflow
from mmrobust.report.page import write_report
from mmrobust.study import load_study
from mmrobust.sweep_table import tabulate as tabulate_sweeps

KEPT = ("cells", "examples", "models", "augmentations")
"""Folders of a study's results whose files are taken over, as links."""


def report_so_far(configfile: Path) -> str:
    """Write `results/<study>/so_far/report.html`, with its tables and figures.

    Args:
        configfile: The study's file.

    Returns:
        What is there and where the report is, in one line.

    Raises:
        UserError: No cell is there yet.
    """
    study = load_study(configfile).study
    results = Path("results", study)
    folder = results / "so_far"
    with planned_workflow(configfile) as workflow:
        dag = workflow.dag
        jobs = [job for job in dag.jobs if job.output]
        done = [file for job in jobs if not dag.needrun(job) for file in map(str, job.output)]
        told = {job.rule.name: dict(job.params.items()) for job in jobs}
        notebooks = [str(job.input.notebook) for job in jobs if job.rule.name.startswith("draw_")]
        cells = {str(file) for job in jobs for file in job.output if _is_cell(file, results)}
    here = cells.intersection(done)
    if not here:
        raise UserError(f"{results / 'cells'}: no cell of the study is there yet; run it first")
    _linked(done, results, folder)
    _tabulated(told, folder)
    cfg = json.loads(told["write_report"]["cfg"])
    cfg["title"] += f" (so far: {len(here)} of {len(cells)} cells)"
    for notebook in sorted(notebooks):
        _drawn(Path(notebook), cfg["title"], told["draw_figures"]["parts"], folder)
    manifest = Path("data/processed", study, "manifest.json")
    write_report(cfg, folder, folder / "report.html", manifest=manifest)
    return f"{len(here)} of {len(cells)} cells are there: {folder / 'report.html'}"


def _is_cell(file: object, results: Path) -> bool:
    path = Path(str(file))
    return results / "cells" in path.parents and path.suffix == ".parquet"


def _linked(done: Iterable[str], results: Path, folder: Path) -> None:
    """Lay the files of finished jobs out anew, so that what is stale isn't among them."""
    with told_clearly(folder):
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder / "figures")
        for file in map(Path, done):
            if results in file.parents and file.relative_to(results).parts[0] in KEPT:
                link = folder / file.relative_to(results)
                make_folder(link.parent)
                link.symlink_to(os.path.relpath(file, link.parent))


def _tabulated(told: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Make the tables that the report and the figures read."""
    tabulate(
        folder / "cells",
        folder / "metrics.csv",
        folder / "metrics.json",
        folder / "flags.csv",
        **json.loads(told["tabulate_metrics"]["cfg"]),
    )
    judge_claims(
        json.loads(told["judge_claims"]["cfg"]),
        claims=Path("config/claims.yaml"),
        cells=folder / "cells",
        out=folder / "claims.csv",
    )
    tabulate_sweeps(json.loads(told["tabulate_sweeps"]["cfg"]), out=folder / "sweeps.csv")
    if "tabulate_augmentations" in told:
        cfg = json.loads(told["tabulate_augmentations"]["cfg"])
        measured = folder / "augmentations"
        cfg["augmentations"] = {
            name: method
            for name, method in cfg["augmentations"].items()
            if (measured / f"{name}.json").exists()
        }
        tabulate_augmentations(cfg, measured=measured, out=folder / "augmentations.csv")


def _drawn(notebook: Path, title: str, parts: str, folder: Path) -> None:
    figures = folder / "figures"
    about = {"results": str(folder), "out_dir": str(figures), "title": title}
    draw_figures(notebook, figures / notebook.name, {**about, **json.loads(parts)})
