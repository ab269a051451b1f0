"""What the disk refuses is told in one line, whoever says it and however; all else passes."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import pytest

from mmrobust.artifacts import replacing, together, write_json, write_text
from mmrobust.disk import AGAIN, refusal, told_clearly
from mmrobust.errors import UserError

REFUSED = {
    errno.ENOSPC: "no space left on the disk; free some",
    errno.EDQUOT: "the disk quota is used up; free some of it",
    errno.EFBIG: "larger than a file may be here; raise the limit (`ulimit -f`)",
    errno.EROFS: "the disk is read-only; make it writable",
    errno.EACCES: "permission denied; let this user use it and its folder (`chmod`)",
    errno.EPERM: "not permitted; lift its protection (`chattr -i`, `chown`)",
    errno.EIO: "the disk reports an error; check it",
}


def system_error(number: int, *names: str) -> OSError:
    return OSError(number, os.strerror(number), *names)


@pytest.mark.parametrize("number", REFUSED, ids=lambda number: errno.errorcode[number])
def test_each_refusal_has_its_line(number: int) -> None:
    assert str(refusal(system_error(number), Path("a/b"))) == f"a/b: {REFUSED[number]}, {AGAIN}"
    rust = Exception(f"Error while serializing: I/O error: it failed (os error {number})")
    assert str(refusal(rust, Path("a/b"))) == f"a/b: {REFUSED[number]}, {AGAIN}"


def test_an_error_that_was_raised_over_one_is_understood() -> None:
    def save() -> None:
        with told_clearly(Path("a")):
            try:
                raise system_error(errno.ENOSPC)
            finally:
                raise RuntimeError("unexpected pos 64 vs 0")

    with pytest.raises(UserError) as error:
        save()
    assert str(error.value) == f"a: no space left on the disk; free some, {AGAIN}"


def over(error: Exception, *cause: Exception | None) -> Exception:
    """An error as it is raised while one of the disk is handled, from a cause if one is given."""
    error.__context__ = system_error(errno.EACCES, "read")
    if cause:
        error.__cause__ = cause[0]
    return error


@pytest.mark.parametrize(
    "error",
    [
        over(RuntimeError("bug"), None),
        over(RuntimeError("bug"), ValueError("its cause")),
        over(KeyError("bug")),
        over(TypeError("bug")),
        over(AttributeError("bug")),
    ],
    ids=repr,
)
def test_a_bug_in_a_handler_is_not_taken_for_what_was_handled(error: Exception) -> None:
    assert refusal(error) is None


def test_an_error_of_a_library_that_wraps_one_is_understood() -> None:
    denied = system_error(errno.EACCES, "read")
    told = f"read: {REFUSED[errno.EACCES]}, {AGAIN}"
    for error in (over(KeyError("store"), denied), over(ValueError("open handle"))):
        assert str(refusal(error)) == told


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("(os error 2)"),
        ValueError("no space left on the disk"),
        system_error(errno.ENOENT, "b"),
        OSError("12 requested and 0 written"),
        KeyError("b"),
        KeyboardInterrupt(),
        UserError("bad input"),
    ],
    ids=repr,
)
def test_what_is_not_about_the_disk_passes_unchanged(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as raised, replacing(tmp_path / "a"):
        raise error
    assert raised.value is error
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_names_what_was_refused() -> None:
    """Space runs out where something is written; permission lacks where the system says."""
    denied, full = (system_error(n, "read", "", "x") for n in (errno.EACCES, errno.ENOSPC))
    assert str(refusal(denied, Path("written"))).startswith("read: permission denied")
    assert str(refusal(full, Path("written"))).startswith("written: no space left")
    assert str(refusal(full)).startswith("read: no space left")
    assert str(refusal(system_error(errno.ENOSPC))).startswith("a file: no space left")
    temporary = system_error(errno.EACCES, str(Path.cwd() / "out" / ".a-x.part.csv"))
    assert str(refusal(temporary)).startswith("out: permission denied")
    here = system_error(errno.EACCES, str(Path.cwd()))
    assert str(refusal(here)).startswith(".: permission denied")
    built = system_error(errno.EACCES, "data/.set.part/images.npy")
    assert str(refusal(built)).startswith("data/set/images.npy: permission denied")


def test_files_appear_together_and_in_their_order(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    with together():
        write_text(tmp_path / "a", "new")
        write_json(tmp_path / "folder" / "b", 1)
        assert (tmp_path / "a").read_text() == "old"
        assert not (tmp_path / "folder" / "b").exists()
    assert (tmp_path / "a").read_text() == "new"
    assert (tmp_path / "folder" / "b").read_text() == "1\n"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "folder"]
    write_text(tmp_path / "a", "newer")
    assert (tmp_path / "a").read_text() == "newer"


def test_files_that_belong_together_do_not_appear_at_all(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")

    def fail() -> None:
        with together():
            write_text(tmp_path / "a", "new")
            write_text(tmp_path / "b", "new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_a_remedy_is_the_end_of_the_line() -> None:
    error = UserError("a:\nbroken", "delete it")
    assert (str(error), error.remedy) == ("a: broken; delete it", "delete it")
    assert str(pickle.loads(pickle.dumps(error))) == "a: broken; delete it"
