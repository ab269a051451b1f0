"""A run in which files may not grow over a limit: it stops, and goes on when the limit is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.workflow

MODEL = "results/smoke/models/standard/seed0"
FILES = ("model.safetensors", "model.json", "tokenizer.json", "history.csv")
ARGUMENTS = ("--cores", "2", "--configfile", "config/smoke.yaml", "--", f"{MODEL}/run.json")
LIMIT_KB = 800
"""Over the size of the training images, and under that of the weights."""


def finished(clone: Path) -> dict[str, bytes]:
    """What the jobs before the training made."""
    data = clone / "data" / "processed" / "smoke"
    paths = [clone / "results" / "smoke" / "tokenizer.json", *sorted(data.rglob("*"))]
    return {str(path.relative_to(clone)): path.read_bytes() for path in paths if path.is_file()}


def trained(clone: Path) -> dict[str, bytes]:
    """What the training made, but the facts of its run."""
    return {file: (clone / MODEL / file).read_bytes() for file in FILES}


def test_a_run_under_a_limit_stops_clearly_and_goes_on_without(smoke_run, fresh_clone, tool):
    clone = fresh_clone("limited")
    done = tool("snakemake", *ARGUMENTS, cwd=clone, check=False, file_kb=LIMIT_KB)
    assert done.returncode != 0
    log = "logs/smoke/train_model/standard_seed0.log"
    assert log in done.stdout
    told = [line for line in (clone / log).read_text().splitlines() if "error" in line]
    assert told == [
        f"mmrobust: error: {MODEL}/model.safetensors: larger than a file may be here; raise the "
        "limit (`ulimit -f`), then run again (finished work is kept)"
    ]
    assert "Traceback" not in (clone / log).read_text()
    assert "Traceback" not in done.stdout
    assert [path for path in (clone / MODEL).glob("*") if path.is_file()] == []
    before = finished(clone)
    assert len(before) == 12
    done = tool("snakemake", *ARGUMENTS, cwd=clone)
    assert "1 of 1 steps (100%) done" in done.stdout
    assert finished(clone) == before == finished(smoke_run[0])
    assert trained(clone) == trained(smoke_run[0])
