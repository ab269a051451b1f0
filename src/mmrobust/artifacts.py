"""Files that are either whole or absent: write beside the target, then rename."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from mmrobust.disk import make_folder, missing, told_clearly
from mmrobust.errors import UserError

REMAKE = "delete it and run again"
"""What to do about a broken artifact: the pipeline makes what is missing."""
MAKE = "run again and it is made"
"""What to do about a missing one."""


class _Held(NamedTuple):
    """A temporary file that waits for the end of a `together`, what it becomes, and its lock."""

    temporary: Path
    path: Path
    lock: int


_HELD: ContextVar[list[_Held] | None] = ContextVar("held", default=None)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` if the block succeeds and vanishes if not.

    The temporary file lies in the same folder, so that the rename is atomic. It is locked while
    its writer lives: those of writers that were killed are swept.

    Raises:
        UserError: the disk refuses; all other errors of the block pass.
    """
    make_folder(path.parent)
    held = _HELD.get()
    with told_clearly(path):
        temporary, lock = _locked_temporary(path)
        kept = _Held(temporary, path, lock)
        try:
            yield temporary
            _publish_mode(temporary)
            if held is None:
                temporary.replace(path)
            else:
                held.append(kept)
        finally:
            if held is None or kept not in held:
                temporary.unlink(missing_ok=True)
                os.close(lock)


def _locked_temporary(path: Path) -> tuple[Path, int]:
    """A new empty file beside `path`, and a descriptor of it that holds its lock."""
    prefix, suffix = f".{path.stem}-", f".part{path.suffix}"
    for leftover in path.parent.glob(f"{glob.escape(prefix)}*{glob.escape(suffix)}"):
        _sweep(leftover)
    while True:
        lock, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=suffix)
        with contextlib.suppress(OSError):  # of a file system without locks nothing is swept
            fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(name):
            return Path(name), lock
        os.close(lock)  # another writer took it for a leftover before it was locked


def _sweep(leftover: Path) -> None:
    """Remove a temporary file unless its writer lives, or it can't be known."""
    with contextlib.suppress(OSError):
        lock = os.open(leftover, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()
        finally:
            os.close(lock)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Hold back what is replaced inside: at the end all of it appears, in its order.

    Nothing appears if the block fails. Renames need no space, so a disk that fills up leaves the
    old files as they were. But a rename that is refused, or a kill between two of them, leaves the
    files before it new and the rest old: what tells that all is whole has to come last.
    """
    held: list[_Held] = []
    outer = _HELD.set(held)
    try:
        yield
        for temporary, path, _ in held:
            with told_clearly(path):
                temporary.replace(path)
    finally:
        _HELD.reset(outer)
        for temporary, _, lock in held:
            temporary.unlink(missing_ok=True)
            os.close(lock)


@contextlib.contextmanager
def building(out: Path) -> Iterator[Path]:
    """Yield an empty folder beside `out` to build in; it is gone afterwards.

    Its name is fixed, so that what a killed run left there is swept by the next.
    """
    folder = out.parent / f".{out.name}.part"
    with told_clearly(out):
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def move_built(folder: Path, out: Path, names: Sequence[str]) -> None:
    """Move files of a built folder to `out`; nothing loads without the last.

    Its old version goes first and the new one comes last: a killed run leaves none, so that a
    mixture of two versions never loads.
    """
    for name in names:
        make_folder((out / name).parent)
        _publish_mode(folder / name)
    with told_clearly(out):
        (out / names[-1]).unlink(missing_ok=True)
        for name in names:
            (folder / name).replace(out / name)


def _publish_mode(path: Path) -> None:
    """Let others read a file; `mkstemp` and some libraries make private ones."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no NaN: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write `value` as canonical JSON, atomically."""
    write_text(path, canonical_json(value))


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is a `UserError` naming it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise missing(path, MAKE) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error})", REMAKE) from None


@contextlib.contextmanager
def remade() -> Iterator[None]:
    """Say of a file that a job made, and that is broken, that it can be made again.

    Stands over functions that read one; an error that says already what to do passes.
    """
    try:
        yield
    except UserError as error:
        if error.remedy:
            raise
        raise UserError(str(error), REMAKE) from None


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Hex sha256 of a JSON-able value: the key of stored work."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
