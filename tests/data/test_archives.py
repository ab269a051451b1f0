"""Archives: good ones unpack whole, hostile ones not at all."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from mmrobust.data.archives import check_archive, extract, is_archive
from mmrobust.errors import UserError

HOSTILE_NAMES = ["../evil.txt", "a/../../evil.txt", "/evil.txt", "C:/evil.txt", "..\\evil.txt"]


def a_zip(path: Path, *names: str, mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, f"content of {name}")
    return path


def a_tar(path: Path, *names: str, kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.type = kind
            member.linkname = "target" if kind != tarfile.REGTYPE else ""
            member.size = 7 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"content"))
    return path


@pytest.mark.parametrize("make", [a_zip, a_tar])
def test_unpacks(tmp_path: Path, make) -> None:
    archive = make(tmp_path / "good", "a.txt", "deep/b..txt")
    assert is_archive(archive)
    extract(archive, tmp_path / "out")
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {"good", "out/a.txt", "out/deep/b..txt"}


@pytest.mark.parametrize("make", [a_zip, a_tar])
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_name_that_leaves_the_folder_is_refused_before_anything_is_written(
    tmp_path: Path, make, name: str
) -> None:
    (tmp_path / "in").mkdir()
    archive = make(tmp_path / "in" / "bad", "harmless.txt", name)
    with pytest.raises(UserError, match=r"in/bad: refused, member .*evil.txt.* outside"):
        extract(archive, tmp_path / "in" / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "bad"]


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a link or a device"):
        check_archive(a_zip(tmp_path / "link.zip", "link", mode=0o120777))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        with pytest.raises(UserError, match="is a link or a device"):
            check_archive(a_tar(tmp_path / "link.tar", "link", kind=kind))


def test_damaged_archive_is_named(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "cut.zip", "a.txt", "b.txt")
    archive.write_bytes(archive.read_bytes().replace(b"content of a", b"CONTENT of a", 1))
    with pytest.raises(UserError, match=r"cut.zip: cannot be unpacked"):
        extract(archive, tmp_path / "out")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(a_tar(tmp_path / "whole.tar", "a.txt").read_bytes()[:60])
    with pytest.raises(UserError, match=r"cut.tar: not a readable zip or tar archive"):
        extract(cut, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert is_archive(cut)
    assert not is_archive(Path(__file__))
