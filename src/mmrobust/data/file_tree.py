"""Files by their base name, straight out of a zip archive or a folder: the reader need not know."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmrobust.errors import UserError


@dataclass(frozen=True, kw_only=True)
class FileTree:
    """The files of one archive or folder."""

    root: Path
    members: Mapping[str, str]
    """Base name -> path inside `root`."""
    archive: zipfile.ZipFile | None

    def where(self, name: str) -> str:
        """Place of a file, for messages."""
        inside = self.members.get(name, name)
        return f"{self.root}:{inside}" if self.archive else str(self.root / inside)

    def read(self, name: str) -> bytes:
        """Bytes of the file with this base name; `UserError` if it is missing or damaged."""
        if name not in self.members:
            raise UserError(f"{self.where(name)}: file is missing")
        try:
            if self.archive is None:
                return (self.root / self.members[name]).read_bytes()
            return self.archive.read(self.members[name])
        except (zipfile.BadZipFile, RuntimeError, OSError) as error:  # RuntimeError: encrypted
            raise UserError(f"{self.where(name)}: cannot be read ({error})") from None

    def lines(self, name: str) -> Iterator[tuple[int, str]]:
        """(Line number from 1, line) of a UTF-8 text file, blank lines left out.

        Raises:
            UserError: naming the line that is not UTF-8.
        """
        for number, line in enumerate(self.read(name).splitlines(), start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{self.where(name)}: line {number} is not UTF-8 ({error})"
                ) from None
            if text:
                yield number, text


@contextlib.contextmanager
def open_tree(
    raw: Path, archive: str, folders: tuple[str, ...], *, sample: str, dataset: str
) -> Iterator[FileTree]:
    """Open `raw/<archive>` or, where there is none, the first of the `folders` that fits.

    Args:
        raw: folder of the raw files.
        archive: name of a zip archive.
        folders: where its files may lie when it was unpacked, relative to `raw`.
        sample: glob pattern of a file that tells the right folder.
        dataset: whose files they are, for messages.

    Raises:
        UserError: neither is there, or the archive is damaged.
    """
    path = raw / archive
    if path.is_file():
        try:
            opened = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"{path}: not a readable zip archive ({error})") from None
        with opened:
            yield FileTree(root=path, members=_index(opened.namelist()), archive=opened)
        return
    for folder in folders:
        if any((raw / folder).glob(sample)):
            files = (file for file in sorted((raw / folder).iterdir()) if file.is_file())
            yield FileTree(
                root=raw / folder, members=_index(file.name for file in files), archive=None
            )
            return
    raise UserError(
        f"{raw}: neither {archive} nor its files are there; "
        f"import them by `mmrobust import-data {dataset} FROM`"
    )


def _index(names: Iterator[str] | list[str]) -> dict[str, str]:
    """Base name -> path; what macOS adds to archives (`__MACOSX/`, `._name`) is left out."""
    index: dict[str, str] = {}
    for name in names:
        path = PurePosixPath(name)
        if name.endswith("/") or "__MACOSX" in path.parts or path.name.startswith("._"):
            continue
        index.setdefault(path.name, name)
    return index
