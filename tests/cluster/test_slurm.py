"""The script that starts a Slurm: where it refuses, and that it leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cluster import slurm
from tests.cluster.conftest import Script, started


def traces() -> set[str]:
    """Files where the script or Slurm might write, and the processes that they start."""
    own = re.compile("munge|slurm")
    places = ("/etc", "/run", "/var/lib", "/var/log", "/var/spool", "/tmp")
    folders = [path for place in places for path in Path(place).glob("*") if own.search(path.name)]
    files = {str(path) for folder in folders for path in [folder, *folder.rglob("*")]}
    return files | {name for _, name in slurm.running() if own.search(name)}


@pytest.fixture
def script() -> Iterator[Callable[..., Script]]:
    """Start the script; what a test leaves running is ended, and nothing may remain."""
    before = traces()
    running: list[Script] = []

    def run(**variables: str) -> Script:
        running.append(started(env={**os.environ, **variables}))
        return running[-1]

    yield run
    for process in running:
        process.communicate()
    assert traces() == before


def ready(process: Script) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == "ready\n"


def submit_sleep(folder: Path) -> int:
    """A job that would outlive every test, running; its process."""
    number = folder / "pid"
    wrapped = f"--wrap=echo $$ > {number}.part; mv {number}.part {number}; exec sleep 600"
    subprocess.run(["sbatch", "--output=/dev/null", wrapped], check=True)
    slurm.until(number.exists)
    pid = int(number.read_text())
    slurm.until(lambda: (pid, "sleep") in slurm.running())
    assert (pid, "sleep") in slurm.running()
    return pid


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, None])
def test_it_ends_its_jobs_and_removes_all_it_wrote(script, how, tmp_path):
    before = traces()
    process = script()
    assert ready(process)
    assert os.path.samefile(slurm.ETC / "slurm.conf", slurm.FOLDER / "slurm.conf")
    job = submit_sleep(tmp_path)
    if how is not None:
        process.send_signal(how)
    assert process.communicate() == ("", "")
    assert process.returncode == (130 if how else 0)
    assert traces() == before
    assert (job, "sleep") not in slurm.running()


def test_it_ends_its_jobs_where_the_controller_is_gone(script, tmp_path):
    before = traces()
    process = script()
    assert ready(process)
    job = submit_sleep(tmp_path)
    os.kill(slurm.number_of("slurmctld"), signal.SIGKILL)
    slurm.until(lambda: "slurmctld" not in {name for _, name in slurm.running()})
    assert process.communicate() == ("", "")
    assert traces() == before
    assert (job, "sleep") not in slurm.running()


def test_what_a_killed_run_left_behind_the_next_one_removes(script, tmp_path):
    before = traces()
    first = script()
    assert ready(first)
    job = submit_sleep(tmp_path)
    first.kill()
    first.wait()
    left = traces() - before
    assert left >= {str(slurm.FOLDER), str(slurm.ETC / "slurm.conf"), *slurm.DAEMONS}
    second = script()
    assert ready(second)
    assert (job, "sleep") not in slurm.running(), "its jobs are gone with it"
    assert second.communicate() == ("", "")
    assert second.returncode == 0
    assert traces() == before


def test_a_second_one_refuses_and_leaves_the_first_alone(script):
    first = script()
    assert ready(first)
    assert script().communicate() == ("", "no Slurm is started: another one runs\n")
    assert slurm.told("srun", "echo", "it works") == "it works"


def test_a_daemon_that_fails_is_told_of_and_all_is_removed(script, tmp_path):
    before = traces()
    broken = tmp_path / "slurmd"
    broken.write_text("#!/bin/sh\necho it is broken\nexit 1\n")
    broken.chmod(0o755)
    process = script(PATH=f"{tmp_path}:{os.environ['PATH']}")
    printed, complaint = process.communicate()
    assert (printed, process.returncode) == ("", 1)
    assert complaint.startswith("Slurm doesn't start: ")
    assert "slurmd.log:\nit is broken\n" in complaint
    assert traces() == before


def test_a_refusal_is_one_line_and_writes_nothing(script):
    before = traces()
    process = script(SLURM_CONF="/elsewhere/slurm.conf")
    assert process.communicate() == (
        "",
        "no Slurm is started: SLURM_CONF is set: a Slurm is configured that is not its own\n",
    )
    assert process.returncode == 1
    assert traces() == before


# Where it refuses, on places that are none of the machine's.


@pytest.fixture
def places(monkeypatch, tmp_path) -> tuple[Path, Path]:
    """An empty folder in place of /etc/slurm, and none yet in place of the script's own."""
    etc, folder = tmp_path / "etc", tmp_path / "folder"
    etc.mkdir()
    monkeypatch.setattr(slurm, "ETC", etc)
    monkeypatch.setattr(slurm, "FOLDER", folder)
    monkeypatch.setattr(slurm, "MUNGE_KEY", tmp_path / "munge.key")
    slurm.refuse_elsewhere()
    return etc, folder


def refusal() -> str:
    with pytest.raises(slurm.Refusal) as raised:
        slurm.refuse_elsewhere()
    return str(raised.value)


@pytest.mark.parametrize("name", ["slurm.conf", "gres.conf", "cgroup.conf", "slurmdbd.conf"])
def test_it_refuses_where_a_slurm_is_configured(places, name):
    path = places[0] / name
    path.write_text("ClusterName=of_a_site\n")
    assert refusal() == f"{path} is not its own: a Slurm is configured here"
    assert path.read_text() == "ClusterName=of_a_site\n"


def test_a_link_elsewhere_is_not_its_own(places, tmp_path):
    path = places[0] / "slurm.conf"
    path.symlink_to(tmp_path / "of_a_site.conf")
    assert refusal() == f"{path} is not its own: a Slurm is configured here"
    path.unlink()
    path.symlink_to(places[1] / "slurm.conf")
    slurm.refuse_elsewhere()


def test_it_refuses_where_a_munge_key_lies_that_it_did_not_make(places):
    slurm.MUNGE_KEY.write_bytes(b"of somebody")
    assert refusal().startswith(f"{slurm.MUNGE_KEY} is not its own: ")
    assert slurm.MUNGE_KEY.read_bytes() == b"of somebody"


@pytest.mark.usefixtures("places")
def test_it_refuses_where_a_folder_of_its_name_is_not_its_own(places):
    folder = places[1]
    folder.mkdir()
    (folder / "kept").write_text("of somebody")
    assert refusal() == f"{folder} is not its own"
    assert (folder / "kept").read_text() == "of somebody"


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("name", slurm.DAEMONS)
def test_it_refuses_where_a_daemon_runs_that_it_did_not_start(tmp_path, name):
    other = shutil.copy(shutil.which("sleep"), tmp_path / name)
    process = subprocess.Popen([other, "600"])
    try:
        # Its name is known a moment after it was started.
        slurm.until(lambda: (process.pid, name) in slurm.running())
        assert refusal() == f"{name} runs here (process {process.pid}), and it is not its own"
    finally:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("places")
def test_it_says_what_is_missing(monkeypatch, tmp_path):
    for name in set(slurm.PROGRAMS) - {"munged", "squeue"}:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal() == "munged, squeue not found; apt-get install slurm-wlm munge"


@pytest.mark.usefixtures("places")
def test_it_needs_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert refusal() == "it needs root, since it writes to /etc/slurm"
