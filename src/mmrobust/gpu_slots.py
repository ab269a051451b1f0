"""One GPU for one job: jobs that run side by side on a machine share its GPUs out.

Snakemake counts GPUs and hands none out, so that two jobs would both compute on the first. Each
job holds a lock on the one that it computes on; the system frees it however the job ends. What a
scheduler or a user allowed by `CUDA_VISIBLE_DEVICES` is all there is to share.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from itertools import takewhile
from pathlib import Path

from mmrobust.errors import UserError

VISIBLE = "CUDA_VISIBLE_DEVICES"

LOCKS = Path("/tmp/mmrobust-gpus")  # of the machine, for clones and users share its GPUs
"""Folder of the locks."""

SCHEDULED = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
"""Variables by which schedulers name a job; GPUs may be numbered anew in each."""

_ID = re.compile(r"\d|GPU-|MIG-")
"""How the id of a GPU begins."""


@contextlib.contextmanager
def one_gpu(
    device: str,
    *,
    environment: MutableMapping[str, str] = os.environ,
    locks: Path = LOCKS,
    count: Callable[[], int] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Let one GPU be visible, which no other job computes on; wait for one if all are taken.

    To be entered before CUDA is, which reads the variable once.

    Args:
        device: That of the study; nothing is done for "cpu".
        environment: In which `CUDA_VISIBLE_DEVICES` is read and set.
        locks: Folder of the locks.
        count: Counts the GPUs of the machine; torch's if left out.
        sleep: Waits for some seconds.

    Raises:
        UserError: No GPU is visible.
    """
    if device != "cuda":
        yield
        return
    names = visible_gpus(environment, count or _count)
    job = next((environment[name] for name in SCHEDULED if environment.get(name)), "")
    with _first_free(names, job, locks, sleep) as name:
        before = environment.get(VISIBLE)
        environment[VISIBLE] = name
        try:
            yield
        finally:
            environment.pop(VISIBLE) if before is None else environment.update({VISIBLE: before})


def visible_gpus(environment: Mapping[str, str], count: Callable[[], int]) -> list[str]:
    """List the GPUs that may be used, as `CUDA_VISIBLE_DEVICES` names them.

    Raises:
        UserError: There are none.
    """
    allowed = environment.get(VISIBLE)
    if allowed is None:
        names = [str(at) for at in range(count())]
    else:
        # What stands behind an id that is none is not visible: so CUDA reads it. Slurm writes
        # `NoDevFiles` for a job without GPUs.
        listed = (name.strip() for name in allowed.split(","))
        names = list(takewhile(_ID.match, listed))
    if not names:
        shown = "" if allowed is None else f" ({VISIBLE} is {allowed!r})"
        raise UserError(f"device: cuda: no GPU is visible{shown}; wanted one, or `device: cpu`")
    return names


@contextlib.contextmanager
def _first_free(
    names: Sequence[str], job: str, locks: Path, sleep: Callable[[float], None]
) -> Iterator[str]:
    locks.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(PermissionError):  # another user made it, and shares it
        locks.chmod(0o1777)
    waited = False
    while True:
        for name in names:
            with _lock(locks / re.sub(r"\W", "_", f"{job}.{name}")) as held:
                if held:
                    yield name
                    return
        if not waited:
            print(f"waiting for a free GPU of {', '.join(names)}", file=sys.stderr, flush=True)
            waited = True
        sleep(random.uniform(0.1, 0.9))


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Try to lock a file; the lock ends with the block or the process."""
    descriptor = _opened(path)
    try:
        with contextlib.suppress(PermissionError):
            path.chmod(0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """Open a lock, and make it if nobody has.

    Linux may refuse even root to open with `O_CREAT` what another user made in a folder of all
    (`fs.protected_regular`), so that it is only given where nothing is.
    """
    try:
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        pass
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:  # another job was faster
        return os.open(path, os.O_RDWR)


def _count() -> int:
    import torch

    return torch.cuda.device_count()  # asks the driver; CUDA itself isn't entered
