"""A study whose processes are killed at any moment goes on, and ends in the same bytes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.trees import differing
from tests.users import environment

pytestmark = pytest.mark.workflow

SMOKE = ["--configfile", "config/smoke.yaml"]
MOMENTS = 20
"""At how many moments of a run the long test kills it."""


def results(clone: Path) -> dict[str, bytes]:
    """Everything that may not vary: all artifacts but run facts and the page that prints them."""
    return {
        str(path.relative_to(clone)): path.read_bytes()
        for folder in ("data/processed/smoke", "data/augmented/smoke", "results/smoke")
        for path in sorted((clone / folder).rglob("*"))
        if path.is_file() and path.name not in ("run.json", "report.html")
    }


def killed(clone: Path, cores: int, moment: Callable[[], bool]) -> bool:
    """Run the study, and kill all its processes at a moment; whether it was still running then."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), *SMOKE]
    with (clone / "killed.log").open("ab") as log:
        run = subprocess.Popen(
            command, cwd=clone, stdout=log, stderr=log, start_new_session=True, env=environment()
        )
        while run.poll() is None and not moment():
            time.sleep(0.02)
        alive = run.poll() is None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    while group_lives(run.pid):
        time.sleep(0.02)
    return alive


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def goes_on(clone: Path, cores: int, tool: Callable[..., subprocess.CompletedProcess[str]]) -> str:
    """Run the study to its end, after its stale lock was told and removed."""
    told = tool("snakemake", "--cores", "1", *SMOKE, cwd=clone, check=False)
    if "is locked" in told.stdout:
        assert "by a run that was killed" in told.stdout
        tool("snakemake", "--unlock", *SMOKE, cwd=clone)
        told = tool("snakemake", "--cores", str(cores), *SMOKE, cwd=clone)
    return str(told.stdout)


def text_of(log: Path) -> str:
    return log.read_text() if log.exists() else ""


def test_killed_three_times_it_ends_in_the_same_bytes_on_one_core_too(smoke_run, fresh_clone, tool):
    """In a training, in an evaluation, and between the tables and the figures."""
    clone = fresh_clone("killed")
    logs, store = clone / "logs" / "smoke", clone / "work" / "cells"
    moments = [
        lambda: "item/s" in text_of(logs / "train_model" / "mat_seed0.log"),
        lambda: len(list(store.glob("*/cell.json"))) >= 3,
        lambda: any((logs / "draw_figures").glob("*.log")),
    ]
    for number, moment in enumerate(moments):
        cores = 1 if number == 2 else 2
        assert killed(clone, cores, moment), f"moment {number} never came"
        tool("snakemake", "--unlock", *SMOKE, cwd=clone)
    done = goes_on(clone, 1, tool)
    assert "rule prepare_data" not in done, "finished jobs are kept"
    assert "dvc: recorded in dvc.lock: data@smoke, augmentation@smoke, models@smoke" in done
    assert differing(results(clone), results(smoke_run[0])) == []


@pytest.mark.long
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_killed_at_any_moment_it_ends_in_the_same_bytes(moment, smoke_run, fresh_clone, tool):
    """Moments are spread over the jobs of a run, and over what a job does in its first seconds."""
    undisturbed, _ = smoke_run
    clone = fresh_clone(f"killed_{moment}")
    jobs = started_jobs(undisturbed) * moment // MOMENTS
    due: list[float] = []

    def comes() -> bool:
        if not due and started_jobs(clone) >= jobs:
            due.append(time.monotonic() + 1.0 + 0.6 * (moment % 5))
        return bool(due) and time.monotonic() >= due[0]

    assert killed(clone, 2, comes), "the run ended before"
    goes_on(clone, 2, tool)
    assert differing(results(clone), results(undisturbed)) == []


def started_jobs(clone: Path) -> int:
    """How many jobs have a log."""
    return len(list((clone / "logs" / "smoke").rglob("*.log")))
