"""What a job says of the code that it ran from."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mmrobust.artifacts import read_json
from mmrobust.runfacts import RunFacts

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A repository, which is the current folder, with code and a table that are tracked."""
    monkeypatch.chdir(tmp_path)
    for name in ("src/code.py", "results/scenes/metrics.csv", "dvc.lock"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("first\n")

    def run(*arguments: str) -> str:
        named = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        done = subprocess.run(
            ["git", *named, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    run("init", "-q")
    run("add", ".")
    run("commit", "-q", "-m", "Begin")
    return run


def told(folder: Path) -> str | None:
    RunFacts("verb").write(folder / "run.json")
    commit: str | None = read_json(folder / "run.json")["git_commit"]
    return commit


def test_the_commit_is_told_and_whether_it_was_changed(git: Git, tmp_path: Path) -> None:
    head = git("rev-parse", "HEAD")
    assert len(head) == 40
    assert told(tmp_path / "out") == head
    (tmp_path / "src" / "code.py").touch()
    assert told(tmp_path / "out") == head
    (tmp_path / "src" / "code.py").write_text("second\n")
    assert told(tmp_path / "out") == f"{head}-dirty"
    git("add", ".")
    assert told(tmp_path / "out") == f"{head}-dirty"


def test_tables_that_a_run_makes_are_no_change(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = git("rev-parse", "HEAD")
    (tmp_path / "results" / "scenes" / "metrics.csv").write_text("second\n")
    (tmp_path / "dvc.lock").write_text("second\n")
    assert told(tmp_path / "out") == head
    monkeypatch.chdir(tmp_path / "results")
    assert told(tmp_path / "out") == head


def test_no_repository_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert told(tmp_path) is None
