"""What is proved of a stage of `dvc.yaml`: that its outputs come from its inputs as they are now.

A job's word for it is what Snakemake kept when the job ended: its parameters, the checksums of its
inputs and the time of its outputs. Each guard here answers a way in which a record would lie.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from mmrobust.artifacts import sha256_file
from mmrobust.pipeline.touched import touched_files
from mmrobust.yaml_file import read_yaml

# Snakemake's mark in a folder that it made; DVC's folders hold it too, no graph lists it.
TIMESTAMP = ".snakemake_timestamp"

CLOCK = 1e-3  # seconds; two readings of one modification time differ by rounding only


def jobs_of(outputs: Iterable[Path], jobs: Iterable[Any]) -> list[Any]:
    """List the jobs that make one of some files, or a file in one of some folders."""
    tops = set(outputs)
    return [
        job
        for job in jobs
        if any(not tops.isdisjoint([path, *path.parents]) for path in map(_absolute, job.output))
    ]


def named_config(command: str) -> str | None:
    """Return the configuration file that a stage's command names."""
    words = shlex.split(command)
    return dict(pairwise(words)).get("--configfile")


def config_refusal(command: str, workflow: Any) -> str | None:
    """Say why a run's configuration is not the one that a stage's command names, if so."""
    asked = named_config(command)
    used = [
        _absolute(file) for file in workflow.config_settings.configfiles or workflow.configfiles
    ]
    if asked is None or used != [_absolute(asked)]:
        names = ", ".join(_shown(file) for file in used)
        return f"its configuration is {asked}, the run's was {names}"
    if read_yaml(Path(asked)) != dict(workflow.config):
        return f"{asked} was changed after the run had read it"
    return None


def stage_refusal(stage: Any, jobs: list[Any], workflow: Any, repo: Any) -> str | None:
    """Say why one stage can't be recorded, if so.

    Args:
        stage: DVC's.
        jobs: Those of the graph that make its outputs.
        workflow: Snakemake's.
        repo: DVC's.
    """
    reason = config_refusal(stage.cmd, workflow)
    if reason:
        return reason
    made = {_absolute(file) for job in jobs for file in job.output}
    for out in stage.outs:
        reason = _uncovered(Path(out.fs_path), made, repo)
        if reason:
            return reason
    outputs = {str(file): file for job in workflow.dag.jobs for file in job.output}
    for job in jobs:
        reason = _unproved(job, workflow, outputs)
        if reason:
            return reason
    if _is_recorded(stage):
        return None
    touched = touched_files()
    for file in (file for job in jobs for file in job.output):
        if str(file) in touched:
            return f"{file} was touched and not made; delete it and run again"
        if not _has_its_time(file, workflow):
            return f"{file} was changed after its job had made it; delete it and run again"
    return None


def _is_recorded(stage: Any) -> bool:
    """Whether `dvc.lock` holds what is there; of a frozen stage DVC itself wouldn't compare it."""
    return not (stage.changed_stage() or any(of.status() for of in [*stage.deps, *stage.outs]))


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
        return (
            f"no job of this run makes {_shown(file)}; "
            "run the whole study, and remove it if it is still told then"
        )
    for file in sorted(made - present):
        if out in file.parents:
            return f"{_shown(file)} is missing"
    return None


def _unproved(job: Any, workflow: Any, outputs: dict[str, Any]) -> str | None:
    """Say what is not proved of how a job's outputs were made from its inputs, if anything.

    Snakemake compared its parameters and its command with the recorded ones. It looks at the
    content of an input only if the file is newer than the outputs; here every input is compared.

    Args:
        job: A job of the graph.
        workflow: Snakemake's.
        outputs: All files that the graph makes, as Snakemake has them.
    """
    kept, output = workflow.persistence, job.output[0]
    if workflow.dag.needrun(job) and not workflow.dag.finished(job):
        return f"{output} would be made again; run Snakemake first"
    if not kept.has_metadata(job):
        return f"there is no record of how {output} was made"
    started, ended = kept.metadata(output).starttime, kept.metadata(output).endtime
    for file in map(str, job.input):
        if kept.input_checksums(job, file) != {f"sha256:{_sha256(file)}"}:
            return f"{output} was made from another {file}"
        # The checksum was taken at the end of the job, which had read the file before. Jobs of a
        # group are recorded together, so that what one left for another has its own time.
        if started < _changed_at(file) <= ended and not (
            file in outputs and _has_its_time(outputs[file], workflow)
        ):
            return f"{file} was changed while {output} was made from it"
    return None


def _has_its_time(output: Any, workflow: Any) -> bool:
    """Whether an output has the time at which its job left it."""
    record = workflow.persistence.metadata(output)
    left_at = record and record.endtime
    return left_at is not None and abs(Path(output).stat().st_mtime - left_at) <= CLOCK


def _changed_at(file: str) -> float:
    """When a file was last written, or put there with a time of its own."""
    found = Path(file).stat()
    return max(found.st_mtime, found.st_ctime)


@cache
def _sha256(path: str) -> str:
    return sha256_file(Path(path))


def _absolute(path: Any) -> Path:
    return Path(os.path.abspath(path))


def _shown(path: Path) -> str:
    return os.path.relpath(path)
