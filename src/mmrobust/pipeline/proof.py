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
from mmrobust.pipeline.touched import is_touched
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
    changed = [Path(out.fs_path) for out in stage.outs if out.status()]
    of_graph = {str(file) for job in workflow.dag.jobs for file in job.output}
    for job in jobs:
        reason = _unproved(job, workflow, changed, of_graph)
        if reason:
            return reason
    touched = [file for job in jobs for file in job.output if is_touched(file)]
    if touched and not _is_recorded(stage):
        return f"{touched[0]} was touched and not made; delete it and run again"
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
        return f"{_shown(file)} is not made by this run; remove it if it is a leftover"
    for file in sorted(made - present):
        if out in file.parents:
            return f"{_shown(file)} is missing"
    return None


def _unproved(job: Any, workflow: Any, changed: list[Path], of_graph: set[str]) -> str | None:
    """Say what is not proved of a job.

    Snakemake compared its parameters and its command with the recorded ones. It looks at the
    content of an input only if the file is newer than the outputs, and never at that of an output;
    here every input is compared, and every output that is not as `dvc.lock` has it must still have
    the time at which the job left it.

    Args:
        job: A job of the graph.
        workflow: Snakemake's.
        changed: The stage's outputs that are not as `dvc.lock` has them.
        of_graph: All files that the graph makes.
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
        # The checksum was taken at the end of the job, which had read the file before.
        if file not in of_graph and started < Path(file).stat().st_mtime <= ended:
            return f"{file} was changed while {output} was made from it"
    for file in job.output:
        path = _absolute(file)
        if not {path, *path.parents}.isdisjoint(changed):
            left_at = kept.metadata(file).endtime
            if left_at is None or abs(path.stat().st_mtime - left_at) > CLOCK:
                return f"{file} was changed after its job had made it"
    return None


@cache
def _sha256(path: str) -> str:
    return sha256_file(Path(path))


def _absolute(path: Any) -> Path:
    return Path(os.path.abspath(path))


def _shown(path: Path) -> str:
    return os.path.relpath(path)
