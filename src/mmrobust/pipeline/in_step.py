"""Whether `dvc.lock` is in step with configuration and code, told without any data.

A clone of the repository is enough: parameters, the digests of the jobs, tables and texts that git
tracks, and what one stage recorded of another's outputs are compared with the record. DVC's own
dry run passes over a stage without an entry; here it is what is looked for first.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from mmrobust.artifacts import read_json
from mmrobust.errors import UserError
from mmrobust.pipeline.graph import planned_workflow
from mmrobust.pipeline.jobs import PHASES, digests, digests_path, phase_and_study
from mmrobust.pipeline.proof import named_config
from mmrobust.pipeline.unrecorded import why_unrecorded


def out_of_step(studies: Collection[str] = (), *, strictly: bool = False) -> list[str]:
    """List what of `dvc.lock` is not as configuration and code are now.

    Args:
        studies: Those that are looked at; all whose results are committed if none is named.
        strictly: Compare the code behind frozen stages too. They are too large to be run again at
            each change, so that their entries say what they were made by and not what is there.

    Returns:
        A line for each finding; none if all is in step.

    Raises:
        UserError: `dvc.yaml` or `dvc.lock` can't be read, or there is no study to look at.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo() as repo:
        try:
            all_stages = list(repo.index.stages)
        except DvcException as error:
            raise UserError(why_unrecorded(error)) from None
        looked_at = set(studies) or _shipped(repo)
        if not looked_at:
            raise UserError("results/*/claims.csv: no study has results here to be checked")
        stages = [stage for stage in all_stages if _is_of_phase(stage, looked_at)]
        recorded = {
            out.fs_path: (stage, out.hash_info)
            for stage in all_stages
            for out in stage.outs
            if out.hash_info
        }
        there = {phase_and_study(stage.addressing) for stage in stages}
        found = [
            f"{phase}@{study}: dvc.yaml has no such stage"
            for study in sorted(looked_at)
            for phase in PHASES
            if (phase, study) not in there
        ]
        for study, config in sorted({(_study(of), named_config(of.cmd)) for of in stages}):
            found += _stale_digests(study, Path(config or ""))
        for stage in stages:
            found += _findings(stage, recorded, strictly=strictly or not stage.frozen)
    return found


def _study(stage: Any) -> str:
    return phase_and_study(stage.addressing)[1]


def _shipped(repo: Any) -> set[str]:
    """Studies whose verdicts are committed; without git, those that have any."""
    from dvc.scm import NoSCM

    if isinstance(repo.scm, NoSCM):
        return {path.parent.name for path in Path("results").glob("*/claims.csv")}
    listed = subprocess.run(
        ["git", "ls-files", "results/*/claims.csv"], capture_output=True, text=True, check=True
    )
    return {Path(line).parent.name for line in listed.stdout.splitlines()}


def _is_of_phase(stage: Any, studies: Collection[str]) -> bool:
    phase, study = phase_and_study(stage.addressing)
    return phase in PHASES and study in studies


def _stale_digests(study: str, config: Path) -> Iterator[str]:
    """Compare the committed digests of a study's jobs with those of the code as it is."""
    path = digests_path(study)
    with planned_workflow(config) as workflow:
        now = digests(workflow)
    before = read_json(path)
    for phase in PHASES:
        rules = {**before.get(phase, {}), **now.get(phase, {})}
        changed = [
            rule
            for rule in sorted(rules)
            if before.get(phase, {}).get(rule) != now.get(phase, {}).get(rule)
        ]
        if changed:
            yield (
                f"{path}: {phase}: {', '.join(changed)} changed; run "
                f"`python -m mmrobust write-jobs --configfile {config}`"
            )


def _findings(stage: Any, recorded: dict[str, Any], *, strictly: bool) -> Iterator[str]:
    """Compare the entry of a stage with what git holds and with the entries it builds on."""
    name, config = stage.addressing, named_config(stage.cmd)
    if not any(out.hash_info for out in stage.outs):
        yield f"{name}: has no entry in dvc.lock; run `snakemake --configfile {config}`"
        return
    if stage.cmd_changed:
        yield f"{name}: its command is not the recorded one"
    for dep in stage.deps:
        if hasattr(dep, "params"):
            if strictly or not _holds_digests(dep):
                changed = dep.status().get(str(dep), {})
                if isinstance(changed, str):
                    yield f"{name}: {dep}: nothing of it is recorded"
                elif changed:
                    yield f"{name}: {dep}: {', '.join(sorted(changed))}: recorded otherwise"
        elif dep.fs_path in recorded:
            made_by, hash_info = recorded[dep.fs_path]
            if dep.hash_info != hash_info:
                yield f"{name}: was made from another {dep} than {made_by.addressing} recorded"
        elif strictly and dep.exists and dep.changed_checksum():
            yield f"{name}: {dep} was edited since it was recorded"
    for out in stage.outs:
        if not out.hash_info:
            yield f"{name}: {out} is not recorded"
        elif not out.use_cache and out.exists and out.changed_checksum():
            yield f"{name}: {os.path.relpath(out.fs_path)} is not as it was recorded"


def _holds_digests(dep: Any) -> bool:
    return Path(os.path.relpath(dep.fs_path)).parent == digests_path("").parent
