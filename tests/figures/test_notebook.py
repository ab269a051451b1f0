"""A notebook's end: its figures, the one line of a cell's complaint, or a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from tests.faults.verbs import run_verb
from tests.forks import Ended

ROOT = Path(__file__).parents[2]
NOTEBOOK = "notebooks/recall_by_defence.ipynb"


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / NOTEBOOK, tmp_path / NOTEBOOK)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "metrics.csv").write_text("study,defence\n")
    return tmp_path


def draw(project: Path) -> Ended:
    options = ("--results", "results", "--out", "figures", "--title", "A study")
    parts = ("--parts", '{"only": {}}')
    return run_verb(("draw-figures", NOTEBOOK, "executed.ipynb", *options, *parts), project)


def test_a_broken_table_is_told_in_one_line(project):
    ended = draw(project)
    assert ended.line.startswith("results/metrics.csv: column missing: ")
    assert "column missing" in (project / "executed.ipynb").read_text()
    assert not (project / "figures").exists()


def test_any_other_mistake_keeps_its_traceback(project):
    text = (project / NOTEBOOK).read_text()
    (project / NOTEBOOK).write_text(text.replace("own_rows(whole, points)", "own_rows(whole)"))
    table = pd.read_csv(ROOT / "results" / "scenes" / "metrics.csv")
    table.to_csv(project / "results" / "metrics.csv", index=False)
    ended = draw(project)
    assert ended.status == 1
    assert "own_rows() missing 1 required positional argument" in ended.told


def test_a_full_disk_under_the_executed_notebook(project):
    (project / "executed.ipynb").symlink_to("/dev/full")
    assert draw(project).line == (
        "executed.ipynb: no space left on the disk; free some, then run again (finished work is "
        "kept)"
    )
