"""What all tests share: one compute thread, and no skipped test that nobody knows of."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from tests.users import environment

for _library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

pytest_plugins = ["pytester", "tests.schedule", "tests.skip_policy"]

ROOT = Path(__file__).parents[1]
Run = Callable[..., subprocess.CompletedProcess[str]]
NOBODY = ("-c", "user.name=test", "-c", "user.email=test@localhost")
"""Author of commits."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line("markers", "workflow: runs a whole study; minutes")
    config.addinivalue_line("markers", "long: an hour and more; `make test-long`")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def made_up() -> ModuleType:
    """The module that makes up a study; test folders are not packages, so it is loaded by path."""
    path = Path(__file__).parent / "figures" / "made_up.py"
    spec = importlib.util.spec_from_file_location("made_up", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# A tool of the environment, run as a user runs it: a process of its own in a project folder.


@pytest.fixture(scope="session")
def tool() -> Run:
    """Run a tool of the environment in a folder; its output, both kinds, is in `stdout`.

    With `file_kb`, none of its processes may write a larger file.
    """

    def run(
        name: str,
        *arguments: str,
        cwd: Path,
        check: bool = True,
        file_kb: int | None = None,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        limited = [] if file_kb is None else ["bash", "-c", f'ulimit -f {file_kb}; exec "$@"', "-"]
        done = subprocess.run(
            [*limited, sys.executable, "-m", name, *arguments],
            cwd=cwd,
            env={**environment(), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if check and done.returncode != 0:
            pytest.fail(f"{name} {' '.join(arguments)}: status {done.returncode}\n{done.stdout}")
        return done

    return run


@pytest.fixture(scope="session")
def run_git() -> Callable[..., str]:
    """Run git in a folder; commits are by nobody in particular."""

    def run(folder: Path, *arguments: str) -> str:
        return git(folder, *NOBODY, *arguments)

    return run


@pytest.fixture(scope="session")
def fresh_clone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a clone of a commit of everything that is here now, under a name."""

    def clone(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name) / "clone"
        folder.mkdir()
        for file in committable():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, folder / file)
        git(folder, "init", "--quiet")
        git(folder, "add", "--all")
        git(folder, *NOBODY, "commit", "--quiet", "--no-verify", "--message", "Everything")
        return folder

    return clone


@pytest.fixture(scope="session")
def smoke_run(fresh_clone, tool) -> tuple[Path, str]:
    """A fresh clone in which the whole smoke study ran on two cores, and what that run printed."""
    clone = fresh_clone("smoke")
    arguments = ["--cores", "2", "--configfile", "config/smoke.yaml"]
    return clone, tool("snakemake", *arguments, cwd=clone).stdout


def committable() -> list[str]:
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout
