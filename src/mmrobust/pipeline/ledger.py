"""Records a finished run in `dvc.lock`: which bytes each phase of a study read and made.

Snakemake executes and DVC is the ledger. A record says "these outputs come from these inputs", so a
stage of `dvc.yaml` is recorded only if that was proved for each of its outputs: by a job that ran
now, or by the checksums that Snakemake took of the job's inputs when it ran. Everything else is
refused in one line, and never fails the run.

It reads Snakemake's internals, which `snakemake>=9.27,<10` in pyproject.toml holds still.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections.abc import Collection, Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from snakemake.settings.enums import RerunTrigger

# Snakemake's mark in a folder that it made; DVC's folders hold it too, no graph lists it.
TIMESTAMP = ".snakemake_timestamp"

CLOCK = 1e-3  # seconds; two readings of one modification time differ by rounding only


def record_run(workflow: Any, *, parts: Collection[str] = ()) -> None:
    """Record the stages that a successful run proved; to be called from `onsuccess`.

    Args:
        workflow: Snakemake's.
        parts: Targets that ask for a part of what a stage makes.
    """
    if "DVC_STAGE" in os.environ:  # started by `dvc repro`, which records by itself
        return
    if not (Path(".dvc").is_dir() and Path("dvc.yaml").is_file()):
        return
    reason = run_refusal(workflow, parts)
    if reason:
        _say(f"nothing recorded: {reason}")
        return
    try:
        _record(workflow)
    except Exception as error:  # a ledger that fails must not fail the study it keeps
        _say(f"nothing recorded: {type(error).__name__}: {error}")


def run_refusal(workflow: Any, parts: Collection[str] = ()) -> str | None:
    """Say why nothing of a run can be recorded, if so: it was not the committed study's."""
    settings = workflow.dag_settings
    if workflow.touch:
        return "--touch makes files look fresh and computes none"
    if settings.until or settings.omit_from or settings.allowed_rules or settings.batch:
        return "the graph was cut (--until, --omit-from, --allowed-rules or --batch)"
    if set(settings.rerun_triggers) != set(RerunTrigger.all()):
        return "--rerun-triggers left out a reason to run a job again"
    if workflow.execution_settings.ignore_incomplete:
        return "--ignore-incomplete takes unfinished files for finished ones"
    asked = sorted({*settings.targets} & {*parts})
    if asked:
        return f"only a part of the study was asked for ({', '.join(asked)})"
    if workflow.config_settings.config:
        return "--config overrode the committed configuration"
    return None


def _record(workflow: Any) -> None:
    from dvc.repo import Repo  # 1 s, spent only where something is recorded

    with Repo() as repo:
        recorded = []
        for stage in repo.index.stages:
            outputs = {Path(out.fs_path): out for out in stage.outs}
            jobs = jobs_of(outputs, workflow.dag.jobs)
            if not jobs:
                continue  # a stage that this run didn't ask for
            reason = stage_refusal(stage, jobs, workflow, repo)
            if reason:
                _say(f"not recorded: {stage.addressing}: {reason}")
            else:
                repo.commit(stage.addressing, force=True)
                recorded.append(stage.addressing)
    if recorded:
        _say(f"recorded in dvc.lock: {', '.join(recorded)}")


def jobs_of(outputs: Iterable[Path], jobs: Iterable[Any]) -> list[Any]:
    """List the jobs that make one of some files, or a file in one of some folders."""
    tops = set(outputs)
    return [
        job
        for job in jobs
        if any(not tops.isdisjoint([path, *path.parents]) for path in map(_absolute, job.output))
    ]


def stage_refusal(stage: Any, jobs: list[Any], workflow: Any, repo: Any) -> str | None:
    """Say why one stage can't be recorded, if so."""
    asked = named_config(stage.cmd)
    used = [
        _absolute(file) for file in workflow.config_settings.configfiles or workflow.configfiles
    ]
    if asked is None or used != [_absolute(asked)]:
        names = ", ".join(_shown(file) for file in used)
        return f"its configuration is {asked}, the run's was {names}"
    made = {_absolute(file) for job in jobs for file in job.output}
    for out in stage.outs:
        reason = _uncovered(Path(out.fs_path), made, repo)
        if reason:
            return reason
    changed = [Path(out.fs_path) for out in stage.outs if out.status()]
    for job in jobs:
        if not workflow.dag.finished(job):
            reason = _unproved(job, workflow, changed)
            if reason:
                return reason
    return None


def named_config(command: str) -> str | None:
    """Return the configuration file that a stage's command names."""
    words = shlex.split(command)
    return dict(pairwise(words)).get("--configfile")


def _uncovered(out: Path, made: set[Path], repo: Any) -> str | None:
    """Compare what lies at a stage's output with what the graph makes there."""
    if not out.exists():
        return f"{_shown(out)} is missing"
    if not out.is_dir():
        return None if out in made else f"{_shown(out)} is not part of this run"
    present = {
        Path(file)
        for file in repo.dvcignore.find(repo.fs, str(out))
        if Path(file).name != TIMESTAMP
    }
    for file in sorted(present - made):
        return f"{_shown(file)} is not made by this run; remove it if it is a leftover"
    for file in sorted(made - present):
        if out in file.parents:
            return f"{_shown(file)} is missing"
    return None


def _unproved(job: Any, workflow: Any, changed: list[Path]) -> str | None:
    """Say what is not proved of a job that didn't run now.

    Snakemake compared its parameters and its command with the recorded ones. It looks at the
    content of an input only if the file is newer than the outputs, and never at that of an output;
    here every input is compared, and every output that is not as `dvc.lock` has it must still have
    the time at which the job left it.

    Args:
        job: A job of the graph.
        workflow: Snakemake's.
        changed: The stage's outputs that are not as `dvc.lock` has them.
    """
    persistence = workflow.persistence
    if not persistence.has_metadata(job):
        return f"there is no record of how {job.output[0]} was made"
    for file in job.input:
        if persistence.input_checksums(job, file) != {f"sha256:{_sha256(str(file))}"}:
            return f"{job.output[0]} was made from another {file}"
    for file in job.output:
        path = _absolute(file)
        if not {path, *path.parents}.isdisjoint(changed):
            left_at = persistence.metadata(file).endtime
            if left_at is None or abs(path.stat().st_mtime - left_at) > CLOCK:
                return f"{file} was changed after its job had made it"
    return None


@cache
def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _absolute(path: Any) -> Path:
    return Path(os.path.abspath(path))


def _shown(path: Path) -> str:
    return os.path.relpath(path)


def _say(line: str) -> None:
    print(f"dvc: {line}", file=sys.stderr)
