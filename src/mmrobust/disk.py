"""What a disk refuses, told in one line: which file, why, and what to do about it.

Libraries tell of it in their own ways: an `OSError`, an error that was raised while one was
handled, or, from Rust, a text that ends in the system's number.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from mmrobust.errors import UserError

AGAIN = "then run again (finished work is kept)"
"""How every refusal ends."""
_SPACE = {
    errno.ENOSPC: f"no space left on the disk; free some, {AGAIN}",
    errno.EDQUOT: f"the disk quota is used up; free some of it, {AGAIN}",
    errno.EFBIG: f"larger than a file may be here; raise the limit (`ulimit -f`), {AGAIN}",
}
_OTHERS = {
    errno.EROFS: f"the disk is read-only; make it writable, {AGAIN}",
    errno.EACCES: f"permission denied; let this user use it and its folder (`chmod`), {AGAIN}",
    errno.EPERM: f"not permitted; lift its protection (`chattr -i`, `chown`), {AGAIN}",
    errno.EIO: f"the disk reports an error; check it, {AGAIN}",
}
_BUGS = (AssertionError, AttributeError, LookupError, NameError, TypeError)
_BUILT = re.compile(r"^\.(.+)\.part$")
_FROM_RUST = re.compile(r"\(os error (\d+)\)")


@contextlib.contextmanager
def told_clearly(path: Path) -> Iterator[None]:
    """Turn what the disk refuses to a writer of `path` into a `UserError`; all else passes.

    Whatever the error's class is: it is raised again, unless it is about the disk.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        refused = refusal(error, path)
        if refused is None:
            raise
        raise refused from None


def refusal(error: BaseException, path: Path | None = None) -> UserError | None:
    """What a disk refused, if that is what an error is about.

    Args:
        error: any error, and whatever it was raised from.
        path: what was being written; None if nobody knows.
    """
    cause: BaseException | None = error
    while cause is not None:
        number = _number(cause)
        if number in _SPACE:  # a copy that finds no space names what it reads
            return UserError(f"{_shown(path or _named(cause))}: {_SPACE[number]}")
        if number in _OTHERS:
            return UserError(f"{_shown(_named(cause) or path)}: {_OTHERS[number]}")
        cause = _raised_over(cause)
    return None


def _raised_over(error: BaseException) -> BaseException | None:
    """The error that this one was raised from, or while it was handled; None if that says nothing.

    Libraries that clean up after the disk's error fail in ways of their own, which only follow from
    it. What nobody raises on purpose is a bug, to be seen with its traceback.
    """
    if error.__suppress_context__ or isinstance(error, _BUGS):
        return error.__cause__
    return error.__context__


def _number(error: BaseException) -> int:
    """The system's number of an error, 0 for one that has none."""
    if isinstance(error, OSError):
        return error.errno or 0
    found = _FROM_RUST.search(str(error))
    return int(found[1]) if found else 0


def _named(error: BaseException) -> Path | None:
    """The path that an error names, if any."""
    name = getattr(error, "filename", None)
    return Path(name) if isinstance(name, str | os.PathLike) else None


def _shown(path: Path | None) -> str:
    """A path as users know it: what is built as `.NAME.part` is NAME.

    Of a temporary file, which is gone by now, the folder.
    """
    if path is None:
        return "a file"
    if path.is_relative_to(Path.cwd()):  # temporary files have absolute names
        path = path.relative_to(Path.cwd())
    parts = [_BUILT.sub(r"\1", part) for part in path.parts]
    hidden = bool(parts) and parts[-1].startswith(".")  # the working folder itself has no parts
    return str(Path(*parts[:-1]) if hidden else Path(*parts))


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; a `UserError` names what is in the way."""
    with told_clearly(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            in_the_way = next(
                place
                for place in (folder, *folder.parents)
                if os.path.lexists(place) and not place.is_dir()
            )
            raise UserError(
                f"{in_the_way}: {dangling(in_the_way) or 'a file where a folder belongs'}; "
                "move or mend it, then run again"
            ) from None


def dangling(path: Path) -> str:
    """What is said of a link to nothing; empty for all else."""
    if path.is_symlink() and not path.exists():
        return f"a link to {os.readlink(path)}, which is not there"
    return ""


def missing(path: Path, remedy: str) -> UserError:
    """What is said of a file that is not there, or is a link to nothing."""
    return UserError(f"{path}: {dangling(path) or 'file is missing'}", remedy)
