"""Archives from elsewhere, unpacked without trusting what they say about paths.

An archive is looked through whole before its first file is written: one bad member and nothing
of it is unpacked.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from mmrobust.disk import told_clearly
from mmrobust.errors import UserError

_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError)


def is_archive(path: Path) -> bool:
    """Whether `path` is a zip or tar file, or the beginning of one, judged by its content."""
    try:
        return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except EOFError:  # a compressed tar that ends early
        return True


def check_archive(path: Path) -> None:
    """Raise a `UserError` naming the first member that would leave the folder or is no plain file.

    Refused are absolute names, names with a drive, a backslash or `..`, links and devices.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    kind = stat.S_IFMT(info.external_attr >> 16)
                    # No kind at all: made on a system that has none.
                    plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
                    _check_member(path, info.orig_filename, plain=plain)
        else:
            with tarfile.open(path) as tar:
                for member in tar:
                    _check_member(path, member.name, plain=member.isfile() or member.isdir())
    except _DAMAGED as error:
        raise UserError(f"{path}: not a readable zip or tar archive ({error})") from None


def extract(path: Path, folder: Path) -> None:
    """Unpack the archive `path` into the new folder `folder`, all of it or nothing.

    Raises:
        UserError: the archive is corrupt or holds a member that `check_archive` refuses.
    """
    check_archive(path)
    part = folder.parent / f".{folder.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        with told_clearly(folder):
            _extract(path, part)
            part.rename(folder)
    except _DAMAGED as error:
        raise UserError(f"{path}: cannot be unpacked to {folder} ({error})") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _extract(path: Path, folder: Path) -> None:
    """Unpack an archive that was looked through."""
    folder.mkdir(parents=True)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    else:
        with tarfile.open(path) as tar:
            tar.extractall(folder, filter="data")


def _check_member(path: Path, name: str, *, plain: bool) -> None:
    """Refuse a member by its name or kind."""
    outside = (
        PurePosixPath(name).is_absolute()
        or PureWindowsPath(name).anchor
        or "\\" in name
        or "\0" in name
        or ".." in PurePosixPath(name).parts
    )
    if outside:
        raise UserError(f"{path}: refused, member {name!r} would be written outside the folder")
    if not plain:
        raise UserError(f"{path}: refused, member {name!r} is a link or a device")
