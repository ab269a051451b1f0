"""Disks that are full: for one file of all that are replaced, or a small one that fills up."""

from __future__ import annotations

import ctypes
import os
import resource
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from mmrobust import artifacts

AGAIN = "then run again (finished work is kept)"
NO_SPACE = f"no space left on the disk; free some, {AGAIN}"
TOO_LARGE = f"larger than a file may be here; raise the limit (`ulimit -f`), {AGAIN}"

PAGE = os.sysconf("SC_PAGE_SIZE")
FULL = "full: "
"""What a fork prints before the name of the file that it lets find no space."""
_WRITES_ALL, _READS_ALL = 1, 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
_CAPABILITIES_3 = 0x20080522
_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000


def full_at(number: int) -> Callable[[], None]:
    """Arrange that the `number`-th file to be replaced finds no space.

    The system itself says so, whatever library writes there: the temporary file is a link to
    `/dev/full`. Weights are an exception, as safetensors writes them to a file of its own and
    renames that: there, files may not grow any more.
    """

    def arrange() -> None:
        make, publish = tempfile.mkstemp, artifacts._publish_mode
        made = 0

        def mkstemp(*, dir: Path, prefix: str, suffix: str) -> tuple[int, str]:
            nonlocal made
            made += 1
            handle, name = make(dir=dir, prefix=prefix, suffix=suffix)
            if made == number:
                print(f"\n{FULL}{dir / (prefix[1:-1] + suffix.removeprefix('.part'))}")
                if suffix.endswith(".safetensors"):
                    resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE, PAGE))
                else:
                    os.unlink(name)
                    os.symlink("/dev/full", name)
            return handle, name

        def unless_full(path: Path) -> None:
            if stat.S_ISCHR(path.stat().st_mode):
                raise AssertionError("nobody noticed that the disk is full")
            publish(path)

        tempfile.mkstemp = mkstemp  # type: ignore[assignment]
        artifacts._publish_mode = unless_full

    return arrange


def obey_permissions() -> None:
    """Take from this process what lets root read and write whatever it likes."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; and those over 31
    if libc.capget(header, sets) == 0:
        for which in (0, 1):
            sets[which] &= ~(1 << _WRITES_ALL | 1 << _READS_ALL)
        libc.capset(header, sets)


def mount_small_disk(folder: Path) -> None:
    """Mount a disk of 64 MB in memory at a folder, which this process and its own alone see.

    Raises:
        OSError: nobody may do this on this machine.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_MOUNTS | (_NEW_USER if user else 0)) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    for arguments in (
        ["--make-rprivate", "/"],
        ["-t", "tmpfs", "-o", "size=64m", "none", str(folder)],
    ):
        if subprocess.run(["mount", *arguments], check=False).returncode != 0:
            raise OSError("mount")


def leave_free(folder: Path, pages: int) -> None:
    """Fill the disk at a folder, so that it has so much space beside what is in use."""
    with (folder / "filler").open("wb") as stream:
        space = os.statvfs(folder).f_bfree - pages
        if space > 0:
            os.posix_fallocate(stream.fileno(), 0, space * PAGE)
