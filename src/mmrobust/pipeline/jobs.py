"""What the jobs of a study are, as digests that DVC compares: one of each rule in each phase.

A digest covers all that Snakemake compares of the jobs but the content of their inputs: files,
commands, and the parameters with the fingerprint of the code behind them. So a stage is stale for
DVC exactly where Snakemake would run one of its jobs again, and an edited comment changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from mmrobust.artifacts import digest, read_json, write_json
from mmrobust.pipeline.graph import planned_workflow
from mmrobust.study import load_study

FOLDER = Path("workflow/jobs")

PHASES = ("data", "augmentation", "models", "evaluation", "report")
"""Phases of a study: each is a target of the Snakefile and a stage of `dvc.yaml`."""

Digests = dict[str, dict[str, str]]


def phase_and_study(stage: str) -> tuple[str, str]:
    """Split the name of a stage of `dvc.yaml`; a kind of study may stand before the phase."""
    name, _, study = stage.partition("@")
    return name.rpartition("_")[2], study


def digests_path(study: str) -> Path:
    """Where the digests of a study lie."""
    return FOLDER / f"{study}.json"


def write_jobs(configfile: Path) -> None:
    """Write the digests of a study's jobs, with nothing run."""
    study = load_study(configfile).study
    with planned_workflow(configfile) as workflow:
        write_json(digests_path(study), digests(workflow))


def renew_jobs(workflow: Any, study: str) -> None:
    """Write the digests of the phases of which a run had all jobs; the others stay."""
    path = digests_path(study)
    write_json(path, {**(read_json(path) if path.exists() else {}), **digests(workflow)})


def digests(workflow: Any) -> Digests:
    """Digest the jobs of each phase that a graph holds whole.

    Args:
        workflow: Snakemake's, with its graph built.
    """
    jobs = list(workflow.dag.jobs)
    made = {str(file): job for job in jobs for file in job.output}
    found: Digests = {}
    before: set[str] = set()
    for phase in PHASES:
        asked = {str(file) for file in workflow.get_rule(phase).input}
        if asked <= set(made):
            of_phase = _behind(asked, made) - _behind(before, made)
            found[phase] = _by_rule(of_phase)
        before |= asked
    return found


def _behind(files: Collection[str], made: dict[str, Any]) -> set[Any]:
    """List the jobs that some files are made by, directly or not."""
    waiting = [made[file] for file in files if file in made]
    found: set[Any] = set()
    while waiting:
        job = waiting.pop()
        if job not in found:
            found.add(job)
            waiting += [made[str(file)] for file in job.input if str(file) in made]
    return found


def unnumbered(rule: str) -> str:
    """The name of a rule without its number: rules that differ in their set of outputs have one.

    Evaluations of models with other cells are such rules.
    """
    return re.sub(r"_\d+$", "", rule)


def _by_rule(jobs: Iterable[Any]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for job in jobs:
        found.setdefault(unnumbered(job.rule.name), []).append(digest(_compared(job)))
    return {rule: digest(sorted(of))[:16] for rule, of in sorted(found.items())}


def _compared(job: Any) -> dict[str, Any]:
    """What makes a job another one on any machine; a study's own models lie on some."""
    own_model = set(job.input.get("own_model", []))
    return {
        "command": job.rule.shellcmd,
        "input": sorted(str(file) for file in job.input if file not in own_model),
        "output": sorted(map(str, job.output)),
        "params": sorted(map(repr, job.non_derived_params)),
    }
