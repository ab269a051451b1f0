"""GPUs are shared out one a job, whatever the jobs do and however they end."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from mmrobust.errors import UserError
from mmrobust.gpu_slots import SCHEDULED, VISIBLE, one_gpu, visible_gpus


@pytest.fixture
def locks(tmp_path) -> Path:
    return tmp_path / "locks"


def unused() -> int:
    raise AssertionError("the machine's GPUs are not asked for")


def test_the_cpu_needs_none(locks):
    environment: dict[str, str] = {}
    with one_gpu("cpu", environment=environment, locks=locks, count=unused):
        assert environment == {}
    assert not locks.exists()


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        (None, ["0", "1", "2"]),
        ("1", ["1"]),
        ("2, 0", ["2", "0"]),
        ("GPU-8932f937,MIG-b1", ["GPU-8932f937", "MIG-b1"]),
        ("0,-1,1", ["0"]),
        ("0,NoDevFiles,1", ["0"]),
    ],
)
def test_what_is_visible_is_shared(allowed, names):
    environment = {} if allowed is None else {VISIBLE: allowed}
    assert visible_gpus(environment, lambda: 3) == names


@pytest.mark.parametrize(
    ("allowed", "told"),
    [
        (None, "device: cuda: no GPU is visible; wanted one, or"),
        ("", r"\(CUDA_VISIBLE_DEVICES is ''\)"),
        ("-1", r"\(CUDA_VISIBLE_DEVICES is '-1'\)"),
        ("NoDevFiles", r"\(CUDA_VISIBLE_DEVICES is 'NoDevFiles'\)"),
    ],
)
def test_no_gpu_is_told(allowed, told, locks):
    environment = {} if allowed is None else {VISIBLE: allowed}
    with (
        pytest.raises(UserError, match=told),
        one_gpu("cuda", environment=environment, locks=locks, count=lambda: 0),
    ):
        pytest.fail("it was entered")


def test_each_job_has_one_and_the_variable_is_put_back(locks):
    first, second = {VISIBLE: "4,7"}, {VISIBLE: "4,7"}
    with one_gpu("cuda", environment=first, locks=locks):
        with one_gpu("cuda", environment=second, locks=locks):
            assert (first, second) == ({VISIBLE: "4"}, {VISIBLE: "7"})
        assert second == {VISIBLE: "4,7"}
    free: dict[str, str] = {}
    with one_gpu("cuda", environment=free, locks=locks, count=lambda: 2):
        assert free == {VISIBLE: "0"}
    assert free == {}


@pytest.mark.parametrize("variable", SCHEDULED)
def test_jobs_of_a_scheduler_do_not_wait_for_each_other(locks, variable):
    """Each may know its GPU as 0: the scheduler has chosen."""
    first, second = {VISIBLE: "0", variable: "17"}, {VISIBLE: "0", variable: "18"}
    with (
        one_gpu("cuda", environment=first, locks=locks),
        one_gpu("cuda", environment=second, locks=locks),
    ):
        assert first[VISIBLE] == second[VISIBLE] == "0"


def test_steps_of_one_scheduled_job_share_its_gpus(locks):
    first, second = ({VISIBLE: "0,1", "SLURM_JOB_ID": "17"} for _ in range(2))
    with (
        one_gpu("cuda", environment=first, locks=locks),
        one_gpu("cuda", environment=second, locks=locks),
    ):
        assert {first[VISIBLE], second[VISIBLE]} == {"0", "1"}


def test_a_job_waits_for_a_free_one(locks, capsys):
    holder = one_gpu("cuda", environment={VISIBLE: "0"}, locks=locks)
    holder.__enter__()
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            holder.__exit__(None, None, None)

    late = {VISIBLE: "0"}
    with one_gpu("cuda", environment=late, locks=locks, sleep=nap):
        assert late == {VISIBLE: "0"}
    assert len(naps) == 3
    assert all(0.1 <= seconds <= 0.9 for seconds in naps)
    assert capsys.readouterr().err == "waiting for a free GPU of 0\n"


@pytest.mark.parametrize("meanwhile", [False, True], ids=["made before", "made meanwhile"])
def test_a_lock_that_another_user_made_is_shared(locks, monkeypatch, meanwhile):
    """In a folder of all, Linux may refuse to open such a file by flags that could make it."""
    made = locks / "_0"
    locks.mkdir()
    made.touch()
    opened, tries = os.open, []

    def protected(path, flags, *mode):
        if path == made:
            tries.append(flags)
            if meanwhile and len(tries) == 1:
                raise FileNotFoundError(path)
            if flags & os.O_CREAT and not flags & os.O_EXCL:
                raise PermissionError(path)
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", protected)
    first, second = {VISIBLE: "0,1"}, {VISIBLE: "0,1"}
    with (
        one_gpu("cuda", environment=first, locks=locks),
        one_gpu("cuda", environment=second, locks=locks),
    ):
        assert (first, second) == ({VISIBLE: "0"}, {VISIBLE: "1"})


def hold(log: Path, locks: Path, seconds: float) -> int:
    """Start a job that takes a GPU, notes when it has it and when not, and return its process."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(120)
        environment = {VISIBLE: "0,1"}
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with one_gpu(
            "cuda", environment=environment, locks=locks, sleep=lambda _: time.sleep(0.01)
        ):
            os.write(descriptor, f"+{environment[VISIBLE]}\n".encode())
            time.sleep(seconds)
            os.write(descriptor, f"-{environment[VISIBLE]}\n".encode())
        status = 0
    finally:  # or a second run of all tests would go on from here
        os._exit(status)


def test_six_jobs_on_two_gpus_are_never_two_on_one(locks, tmp_path):
    log = tmp_path / "log"
    for child in [hold(log, locks, 0.1) for _ in range(6)]:
        assert os.waitpid(child, 0)[1] == 0
    holding: set[str] = set()
    most = 0
    for line in log.read_text().split():
        sign, name = line[0], line[1:]
        if sign == "+":
            assert name not in holding
            holding.add(name)
        else:
            holding.remove(name)
        most = max(most, len(holding))
    assert most == 2
    assert log.read_text().count("+") == 6


def test_a_killed_job_frees_its_gpu(locks, tmp_path):
    children = [hold(tmp_path / "log", locks, 60) for _ in range(2)]
    deadline = time.monotonic() + 30
    while not (tmp_path / "log").exists() or (tmp_path / "log").read_text().count("+") < 2:
        assert time.monotonic() < deadline, "the jobs got no GPU"
        time.sleep(0.01)
    os.kill(children[0], signal.SIGKILL)
    os.waitpid(children[0], 0)
    late = {VISIBLE: "0,1"}
    with one_gpu("cuda", environment=late, locks=locks, sleep=lambda _: pytest.fail("it waits")):
        assert late[VISIBLE] in ("0", "1")
    os.kill(children[1], signal.SIGKILL)
    os.waitpid(children[1], 0)
