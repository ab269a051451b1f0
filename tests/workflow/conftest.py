"""Snakemake, run as a user runs it: a process of its own in a project folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "workflow" / "lib"))

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tool() -> Run:
    """Run a tool of the environment in a folder; its output, both kinds, is in `stdout`."""

    def run(
        name: str, *arguments: str, cwd: Path, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("DVC_", "SNAKEMAKE_"))
        }
        done = subprocess.run(
            [sys.executable, "-m", name, *arguments],
            cwd=cwd,
            env={**environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if check and done.returncode != 0:
            pytest.fail(f"{name} {' '.join(arguments)}: status {done.returncode}\n{done.stdout}")
        return done

    return run


@pytest.fixture(scope="session")
def fresh_clone(tmp_path_factory) -> Callable[[str], Path]:
    """Make a clone of a commit of everything that is here now, under a name."""

    def clone(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name) / "clone"
        folder.mkdir()
        for file in committable():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, folder / file)
        author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        git(folder, "init", "--quiet")
        git(folder, "add", "--all")
        git(folder, *author, "commit", "--quiet", "--no-verify", "--message", "Everything")
        return folder

    return clone


def committable() -> list[str]:
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture(scope="session")
def smoke_run(fresh_clone, tool) -> tuple[Path, str]:
    """A fresh clone in which the whole smoke study ran on two cores, and what that run printed."""
    clone = fresh_clone("smoke")
    arguments = ["--cores", "2", "--configfile", "config/smoke.yaml"]
    return clone, tool("snakemake", *arguments, cwd=clone).stdout
