"""The verb `restore`: a study as it was recorded, in a clone that never ran it.

What `dvc pull` brings has the times of a download, and Snakemake would make it all again. So its
records are written as if it had made the files, by `--touch`, which believes whatever lies there:
only after DVC has compared every byte, and configuration and code are those of the record.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from mmrobust.errors import UserError
from mmrobust.pipeline.code_notes import keep_notes
from mmrobust.pipeline.graph import planned_workflow
from mmrobust.pipeline.in_step import out_of_step
from mmrobust.pipeline.jobs import PHASES, phase_and_study
from mmrobust.pipeline.touched import unmark_touched
from mmrobust.study import load_study


def restore(configfile: Path, *, remote: str | None = None) -> str:
    """Fetch a study's artifacts and make them count as made.

    Args:
        configfile: The study's file.
        remote: Name of the DVC remote; the default one if left out.

    Returns:
        What was done, in one line.

    Raises:
        UserError: The record is of other code or configuration; something can't be had; or what
            is there is not what was recorded. Nothing counts as made then that didn't before.
    """
    study = load_study(configfile).study
    findings = out_of_step([study], strictly=True)
    if findings:
        raise UserError(
            f"{study} can't be restored, for dvc.lock is not in step with what is checked out "
            f"({len(findings)} findings, the first: {findings[0]}); check out a commit that it is "
            "in step with, or run the study"
        )
    names = _fetched(study, remote)
    _touched(study, configfile)
    return f"{study} is as it was recorded: {', '.join(names)}"


def _fetched(study: str, remote: str | None) -> list[str]:
    """Pull what is missing of a study's stages, and compare all of it with the record."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo() as repo:
        stages = [stage for stage in repo.index.stages if _is_of(stage, study)]
        names = [stage.addressing for stage in stages]
        if any(out.status() for stage in stages for out in stage.outs):
            if remote is None and "remote" not in repo.config["core"]:
                raise UserError(
                    f"{study}: there is no DVC remote to fetch it from "
                    "(wanted: `dvc remote add --local --default NAME ADDRESS`)"
                )
            try:
                repo.pull(targets=names, remote=remote)
            except DvcException as error:
                raise UserError(f"{study}: can't be fetched ({error})") from None
        for stage in stages:
            for out in stage.outs:
                if out.status():
                    private = "" if out.can_push else ", and is not ours to pass on"
                    raise UserError(
                        f"{out}: is not what dvc.lock has{private}; nothing was restored"
                    )
    return names


def _is_of(stage: Any, study: str) -> bool:
    phase, of = phase_and_study(stage.addressing)
    return of == study and phase in PHASES


def _touched(study: str, configfile: Path) -> None:
    options = ["--cores", "1", "--touch", "--forceall", "--quiet", "all"]
    command = [sys.executable, "-m", "snakemake", *options, "--configfile", str(configfile)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError(f"Snakemake refused to take the files for made: {done.stderr.strip()}")
    with planned_workflow(configfile) as workflow:
        unmark_touched(study, (file for job in workflow.dag.jobs for file in job.output))
        keep_notes(workflow.globals["CODE"])
        stale = list(workflow.dag.needrun_jobs())
        if stale:
            raise UserError(f"{stale[0].rule.name}: would still be run; see `mmrobust why all`")
