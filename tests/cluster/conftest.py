"""What the cluster tests share: a Slurm that the project starts, and Snakemake run on it.

They run in an environment of their own, where nothing is missing, so that no skip is allowed:
`make test-cluster`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.slurm import told

SCRIPT = Path(__file__).with_name("slurm.py")
# Jobs of seconds: a site's pace of asking would be most of the time.
QUICK = (
    *("--seconds-between-status-checks", "3"),
    *("--slurm-init-seconds-before-status-checks", "3"),
    *("--latency-wait", "10"),
)
# Jobs in the order in which they were submitted, as SlurmJob has them.
LISTED = ("--sort=i", "--noheader", "--format=%T %k %m %l")

Script = subprocess.Popen[str]


@dataclass(frozen=True)
class SlurmJob:
    """What Slurm tells of a job that Snakemake submitted."""

    state: str
    name: str
    memory: str
    minutes: str


@dataclass(frozen=True)
class Submitted:
    """A run of Snakemake whose jobs went to Slurm."""

    status: int
    printed: str
    jobs: list[SlurmJob]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Empty the list of skips that are allowed elsewhere."""
    policy: Any = session.config.pluginmanager.get_plugin("skip_policy")
    policy.allowed = []


def started(**options: Any) -> Script:
    """The script that starts a Slurm, running; it ends when its input does."""
    pipe = subprocess.PIPE
    # In a session of its own: Ctrl-C ends the tests, and their end is the script's.
    return subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
        **options,
    )


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A Slurm of one node on this machine."""
    script = started()
    assert script.stdout is not None
    if script.stdout.readline() != "ready\n":
        pytest.fail(script.communicate()[1])
    yield
    _, complaint = script.communicate()
    assert (script.returncode, complaint) == (0, "")


@pytest.fixture(scope="module")
def submit(slurm: None, tool: Any) -> Callable[..., Submitted]:
    """Run Snakemake in a clone through the project's Slurm profile."""

    def run(clone: Path, *arguments: str) -> Submitted:
        profile = ("--profile", "profiles/slurm", *QUICK)
        done = tool("snakemake", *profile, *arguments, cwd=clone, check=False)
        name = re.search(r"^SLURM run ID: (.+)$", done.stdout, flags=re.MULTILINE)
        if name is None:
            pytest.fail(f"nothing was submitted:\n{done.stdout}")
        listed = told("squeue", "--states=all", f"--name={name[1]}", *LISTED)
        jobs = [SlurmJob(*line.split()) for line in listed.splitlines()]
        return Submitted(done.returncode, done.stdout, jobs)

    return run


@pytest.fixture(scope="session")
def local_run(fresh_clone: Any, tool: Any) -> Path:
    """A fresh clone in which the whole smoke study ran without any cluster."""
    clone: Path = fresh_clone("local")
    tool("snakemake", "--cores", "2", "--configfile", "config/smoke.yaml", cwd=clone)
    return clone
