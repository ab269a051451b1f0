"""Whose lock it is that keeps a study from running."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from tests.forks import Ended, in_fork

from mmrobust.pipeline.locks import NOTES, Note, whose_lock

SOURCE = Path(__file__).parents[2] / "src"
SNAKEFILE = """
import sys
sys.path.insert(0, {lib!r})
from mmrobust.pipeline.locks import explain_locks, note_run

explain_locks("a")

onstart:
    note_run("a")

rule all:
    input: "out/b.txt"

rule one:
    output: "out/a.txt"
    shell: "echo a > {{output}}"

rule other:
    input: "out/a.txt"
    output: "out/b.txt"
    shell: "cat {{input}} > {{output}}; touch waits; until test -e go; do sleep 0.1; done"
"""
UNLOCK = "`snakemake --unlock` with the same options, then run again; finished jobs are kept"
LOCKED = "study 'a' is locked (.snakemake/locks) by a run"


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project of two jobs, the second of which goes on for long unless it may go."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(lib=str(SOURCE)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def snakemake(project: Path, *arguments: str) -> Ended:
    from snakemake.cli import main

    return in_fork(lambda: main(["--cores=1", "--rerun-incomplete", *arguments]), project)


@pytest.fixture
def run(project) -> Iterator[subprocess.Popen[bytes]]:
    """A run of the project that is at its second job."""
    command = [sys.executable, "-m", "snakemake", "--cores=1"]
    with subprocess.Popen(
        command, cwd=project, stderr=subprocess.DEVNULL, start_new_session=True
    ) as started:
        deadline = time.monotonic() + 120
        while not (project / "waits").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield started
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)


def refused(ended: Ended) -> str:
    """The last line of a run that was refused; under it stands nothing, above it a heading."""
    assert ended.status != 0
    assert "Traceback" not in ended.told
    lines = ended.told.strip().splitlines()
    assert lines[-2] == "StudyIsLocked:"
    return lines[-1]


def test_a_run_that_is_alive_is_named_and_one_that_was_killed_too(project, run):
    alive = f"{LOCKED} that is alive, process {run.pid}: wait for it, or stop it first"
    assert refused(snakemake(project)) == alive
    assert snakemake(project, "--dry-run").status == 0
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert refused(snakemake(project)) == f"{LOCKED} that was killed (process {run.pid}): {UNLOCK}"
    first = (project / "out" / "a.txt").stat().st_mtime_ns
    (project / "go").touch()
    assert snakemake(project, "--unlock").status == 0
    done = snakemake(project)
    assert done.status == 0, done.told
    assert (project / "out" / "a.txt").stat().st_mtime_ns == first
    assert (project / "out" / "b.txt").read_text() == "a\n"
    assert not list((project / NOTES).glob(f"*-{run.pid}.json"))


def test_a_run_that_ends_leaves_no_note(project, run):
    assert [file.name for file in NOTES.iterdir()] == [f"{socket.gethostname()}-{run.pid}.json"]
    (project / "go").touch()
    assert run.wait() == 0
    assert list(NOTES.iterdir()) == []


def test_without_locks_nobody_is_asked(project, run):
    (project / "go").touch()
    done = snakemake(project, "--nolock")
    assert done.status == 0, done.told


@pytest.fixture
def me() -> Note:
    process = psutil.Process()
    return Note("a", socket.gethostname(), process.pid, process.create_time())


def leave(*notes: Note) -> None:
    NOTES.mkdir(parents=True, exist_ok=True)
    for note in notes:
        note.file.write_text(json.dumps(asdict(note)))


def test_a_note_that_cannot_be_written_keeps_no_run_from_running(project):
    NOTES.parent.mkdir()
    NOTES.write_text("in the way")
    (project / "go").touch()
    done = snakemake(project)
    assert done.status == 0, done.told
    assert "no note of who holds the lock: .snakemake/runs: a file where a folder be" in done.told
    assert (project / "out" / "b.txt").read_text() == "a\n"


def test_a_number_that_another_process_has_by_now_is_not_the_run(project, me):
    leave(replace(me, began=me.began - 100))
    assert whose_lock("a") == f"{LOCKED} that was killed (process {me.pid}): {UNLOCK}"
    leave(me)
    assert whose_lock("a") == (
        f"{LOCKED} that is alive, process {me.pid}: wait for it, or stop it first"
    )


def test_a_run_on_another_machine_is_named_with_it(project, me):
    leave(replace(me, host="elsewhere", pid=7))
    assert whose_lock("a") == (
        f"{LOCKED} on elsewhere (process 7): wait for it, or if it was killed, {UNLOCK}"
    )


def test_a_lock_of_nobody(project, me):
    unknown = f"{LOCKED} that left no note of itself: if none is alive, {UNLOCK}"
    assert whose_lock("a") == unknown
    leave(replace(me, study="another"))
    (NOTES / "broken.json").write_text("{")
    (NOTES / "other.json").write_text('{"some": "thing"}')
    assert whose_lock("a") == unknown
