"""What keeps DVC from recording a run, in one line, and what it may not lose over that."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from mmrobust.disk import AGAIN, refusal, told_clearly

LOCK, PATHS_LOCK = ".dvc/tmp/lock", ".dvc/tmp/rwlock"


@contextlib.contextmanager
def kept_unless_written(path: Path) -> Iterator[None]:
    """Put a file back as it was if the block fails: DVC writes `dvc.lock` in its place.

    To be called by one process at a time, under DVC's own lock.

    A disk that is full has no room for the copy, so that nothing is begun.
    """
    copy = path.with_name(f".{path.name}.part")
    was_there = path.exists()
    try:
        if was_there:
            with told_clearly(path):
                shutil.copy2(path, copy)
        try:
            yield
        except BaseException:
            if was_there:
                copy.replace(path)
            else:
                path.unlink(missing_ok=True)
            raise
    finally:
        copy.unlink(missing_ok=True)


def why_unrecorded(error: Exception) -> str:
    """What kept DVC from recording: which file, why, and what to do about it."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.rwlock import RWLockFileCorruptedError, RWLockFileFormatError

    refused = refusal(error)
    if refused is not None:
        return str(refused).removesuffix(f", {AGAIN}")
    reason = " ".join(str(error).split())
    if isinstance(error, LockError):
        held = PATHS_LOCK if "rwlock" in reason else LOCK
        return f"{held}: another DVC process holds it; wait for it"
    if isinstance(error, RWLockFileCorruptedError | RWLockFileFormatError):
        return f"{PATHS_LOCK}: broken; delete it"
    if isinstance(error, DvcException) and "dvc.lock" in reason:
        return f"dvc.lock: broken ({reason}); `git checkout dvc.lock`"
    return f"{type(error).__name__}: {reason}; mend it"
