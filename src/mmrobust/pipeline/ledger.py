"""Records a finished run in `dvc.lock`: which bytes each phase of a study read and made.

Snakemake executes and DVC is the ledger. A record says "these outputs come from these inputs", so a
stage of `dvc.yaml` is recorded only if that was proved for each of its outputs (`proof.py`).
Everything else is refused in one line, and never fails the run.

It reads Snakemake's internals, which `snakemake>=9.27,<10` in pyproject.toml holds still.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from snakemake.settings.enums import RerunTrigger

from mmrobust.errors import UserError
from mmrobust.pipeline.code_notes import Parts
from mmrobust.pipeline.fingerprint import edited_modules
from mmrobust.pipeline.graph import planned_workflow
from mmrobust.pipeline.jobs import phase_and_study, renew_jobs
from mmrobust.pipeline.proof import config_refusal, jobs_of, stage_refusal
from mmrobust.pipeline.unrecorded import kept_unless_written, why_unrecorded

LOCKFILE = Path("dvc.lock")
REFUSED = ("nothing recorded", "not recorded")
"""How lines on what is not recorded begin."""

LOADED = time.time()
"""When the run began; Snakemake's file is read, and jobs are planned, after that."""


def record_run(workflow: Any, *, parts: Collection[str] = (), code: Collection[Parts] = ()) -> None:
    """Record the stages that a successful run proved; to be called from `onsuccess`.

    Args:
        workflow: Snakemake's.
        parts: Targets that ask for a part of what a stage makes.
        code: What the fingerprints of its jobs cover.
    """
    if "DVC_STAGE" in os.environ:  # started by `dvc repro`, which records by itself
        return
    if not _is_tracked():
        return
    reason = run_refusal(workflow, parts)
    if reason:
        _say(f"nothing recorded: {reason}")
        return
    try:
        for line in record_stages(workflow, code):
            _say(line)
    except Exception as error:  # a ledger that fails must not fail the study it keeps
        config = os.path.relpath(workflow.configfiles[0])
        _say(
            f"not recorded: {why_unrecorded(error)}, then run "
            f"`python -m mmrobust record --configfile {config}`: what is finished is kept"
        )


def record(configfile: Path) -> Iterator[str]:
    """Record what is there of a study as a run would, with the same checks, and run nothing.

    Args:
        configfile: The study's file.

    Yields:
        What was recorded and what not, with the reason, in lines.

    Raises:
        UserError: There is no ledger here, or it can't be written.
    """
    if not _is_tracked():
        raise UserError("dvc.yaml or .dvc is missing: there is nothing to record in")
    with planned_workflow(configfile) as workflow:
        try:
            yield from record_stages(workflow, ())  # nothing has run since it was planned
        except Exception as error:  # DVC's are of many classes
            raise UserError(f"not recorded: {why_unrecorded(error)}, then again") from None


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
    if workflow.storage_settings.default_storage_provider:
        return "--default-storage-provider: the study's files lie elsewhere"
    return None


def record_stages(workflow: Any, code: Collection[Parts]) -> Iterator[str]:
    """Record the stages that are proved, and yield a line on each that is not, and on those.

    What was recorded is said even where the ledger fails at the next.

    Args:
        workflow: Snakemake's, with the graph of a run or of a plan.
        code: What the fingerprints of its jobs cover.
    """
    source = Path(workflow.basedir) / "src"
    edited = edited_modules(code, source=source)
    if edited:
        yield f"nothing recorded: {edited[0]} was edited after the run had begun; run again"
        return
    recorded: list[str] = []
    try:
        yield from _record_proved(workflow, recorded)
    finally:
        if recorded:
            yield f"recorded in dvc.lock: {', '.join(recorded)}"


def _record_proved(workflow: Any, recorded: list[str]) -> Iterator[str]:
    """Record the stages that are proved in a list too, and yield a line on each that is not."""
    from dvc.repo import Repo  # 1 s, spent only where something is recorded

    workflow.persistence.deactivate_cache()  # it holds what was kept before the last job ended
    with Repo() as repo:
        stages = list(repo.index.stages)
        asked = {
            stage: jobs
            for stage in stages
            if (jobs := jobs_of([Path(out.fs_path) for out in stage.outs], workflow.dag.jobs))
        }
        for stage in stages:
            if _lists_jobs(stage, workflow):
                renew_jobs(workflow, phase_and_study(stage.addressing)[1])
                if not _newer_than_the_run(stage):
                    _commit(repo, stage)
        for stage, jobs in asked.items():
            reason = stage_refusal(stage, jobs, workflow, repo)
            if reason:
                yield f"not recorded: {stage.addressing}: {reason}"
            else:
                _commit(repo, stage)
                recorded.append(stage.addressing)


def _commit(repo: Any, stage: Any) -> None:
    """Record one stage, while no other run records."""
    from dvc.repo import lock_repo

    with lock_repo(repo), kept_unless_written(LOCKFILE):
        # Files keep their times, which prove that they are as their jobs left them.
        repo.commit(stage.addressing, force=True, relink=False)


def _lists_jobs(stage: Any, workflow: Any) -> bool:
    """Whether a stage lists the jobs of the study that was run."""
    lists = phase_and_study(stage.addressing)[0] == "jobs"
    return lists and config_refusal(stage.cmd, workflow) is None


def _newer_than_the_run(stage: Any) -> bool:
    """Whether something that jobs are planned from was changed since the run planned them."""
    return any(
        Path(file).stat().st_mtime > LOADED
        for dep in stage.deps
        for file in stage.repo.dvcignore.find(stage.repo.fs, dep.fs_path)
    )


def _is_tracked() -> bool:
    return Path(".dvc").is_dir() and Path("dvc.yaml").is_file()


def _say(line: str) -> None:
    print(f"dvc: {line}", file=sys.stderr)
