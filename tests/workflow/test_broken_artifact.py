"""A broken artifact of a finished study, as a user meets it: the line, and its remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.workflow

CELLS = "results/smoke/cells/standard/seed0"
BROKEN = f"{CELLS}/pgd.json"
TABLES = ("metrics.csv", "metrics.json", "flags.csv")
ARGUMENTS = ("--cores", "2", "--configfile", "config/smoke.yaml")
TARGET = ("--", "results/smoke/metrics.csv")


@pytest.fixture
def clone(smoke_run, tmp_path) -> Path:
    """A copy of the finished clone, to break."""
    return Path(shutil.copytree(smoke_run[0], tmp_path / "clone", symlinks=True))


def cells(clone: Path) -> dict[str, bytes]:
    """All cells of the study, but the facts of their runs."""
    paths = sorted((clone / "results" / "smoke" / "cells").rglob("*"))
    kept = [path for path in paths if path.is_file() and path.name != "run.json"]
    return {str(path.relative_to(clone)): path.read_bytes() for path in kept}


def test_a_cell_of_another_version_is_named_and_made_again(clone, tool):
    before = cells(clone)
    record = json.loads(before[BROKEN])
    (clone / BROKEN).write_text(json.dumps({**record, "schema_version": 1}))
    done = tool("snakemake", *ARGUMENTS, *TARGET, cwd=clone, check=False)
    assert done.returncode != 0
    told = f"{BROKEN}: schema_version is 1 (allowed: 2); delete it and run again"
    assert f"mmrobust: error: {told}" in done.stdout
    assert "Traceback" not in done.stdout
    assert {name for name, content in cells(clone).items() if content != before[name]} == {BROKEN}
    (clone / BROKEN).unlink()
    done = tool("snakemake", *ARGUMENTS, *TARGET, cwd=clone)
    assert "train_model" not in done.stdout
    assert cells(clone) == before
    assert json.loads((clone / CELLS / "run.json").read_text())["cells_computed"] == []
