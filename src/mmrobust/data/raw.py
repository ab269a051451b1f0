"""Raw files as their authors publish them: which, where, and whether they are the right ones.

The raw files of a dataset lie in `data/raw/<dataset>/`, which git ignores; they may be links.
Their checksums stand beside it in the committed `data/raw/<dataset>.sha256` (the format of
`sha256sum`), so that the record of a study says which bytes it was made from.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrobust.artifacts import read_json, replacing, sha256_file
from mmrobust.data import DATASETS
from mmrobust.disk import dangling, make_folder, told_clearly
from mmrobust.errors import UserError
from mmrobust.registry import resolve

SOURCES = "sources.json"

# Raw data that datasets share and that is no dataset itself.
_RESOURCES: Mapping[str, str] = {"lexicon": "mmrobust.data.lexicon:WordPairs"}


@dataclass(frozen=True, kw_only=True)
class RawFiles:
    """What a dataset expects in its raw folder."""

    dataset: str
    names: tuple[str, ...]
    """File names, as published."""
    unpacked: Mapping[str, tuple[str, ...]]
    """Archive name -> the files and folders that stand in for it when it was unpacked."""
    terms: str
    """Terms that a user must accept before a download; empty if there are none."""

    def find(self, folder: Path, name: str) -> dict[str, Path]:
        """The file `name` in `folder`, or what stands in for it; empty if neither is there.

        Keys are names inside `folder`; a folder's name ends in a slash.
        """
        if (folder / name).is_file():
            return {name: folder / name}
        parts = [folder / part for part in self.unpacked.get(name, ())]
        if not all(part.exists() for part in parts):
            return {}
        return {f"{part.name}/" if part.is_dir() else part.name: part for part in parts}

    def locate(self, folder: Path) -> dict[str, Path]:
        """Name -> path of all the raw files in `folder`.

        Raises:
            UserError: naming the first file that is missing.
        """
        found: dict[str, Path] = {}
        for name in self.names:
            here = self.find(folder, name)
            if not here:
                broken = dangling(folder / name)
                if broken:
                    raise UserError(f"{folder / name}: {broken}; import it again")
                parts = ", ".join(self.unpacked.get(name, ()))
                instead = f" (nor, unpacked, {parts})" if parts else ""
                raise UserError(f"{folder}: {name} is missing{instead}")
            found |= here
        return found


def raw_files(dataset: str) -> RawFiles:
    """What the dataset or shared resource called `dataset` publishes itself."""
    cls = _class(dataset)
    return RawFiles(
        dataset=dataset,
        names=getattr(cls, "raw_files", ()),
        unpacked=getattr(cls, "unpacked", {}),
        terms=getattr(cls, "terms", ""),
    )


def raw_needs(dataset: str) -> dict[str, RawFiles]:
    """Configuration key of its place -> raw files, for all that preparing `dataset` reads."""
    own = {dataset: "raw"} if raw_files(dataset).names else {}
    needs = getattr(_class(dataset), "raw_datasets", own)
    return {key: raw_files(name) for name, key in needs.items()}


def _class(dataset: str) -> type:
    return resolve({**DATASETS, **_RESOURCES}, dataset, kind="dataset", base=object)


def import_data(
    dataset: str, source: Path, raw_root: Path, *, accept_new_checksums: bool = False
) -> dict[str, Any]:
    """Check the raw files in `source` and link them into `raw_root/<dataset>/`.

    Args:
        dataset: registered name, or `lexicon`.
        source: folder that holds the published files, as archives or unpacked.
        raw_root: the project's folder of raw data.
        accept_new_checksums: rewrite the committed checksums if the files differ from them.

    Returns:
        {"files": {name: {"sha256": hex, "bytes": int}}}, as `sources.json` holds it.

    Raises:
        UserError: a file is missing, differs from the committed checksums, or is in the way.
    """
    expected = raw_files(dataset)
    if not expected.names:
        raise UserError(f"dataset {dataset!r} needs no raw files: it is generated")
    found = expected.locate(source)
    facts = file_facts(found)
    committed = raw_root / f"{dataset}.sha256"
    text = "".join(f"{fact['sha256']}  {name}\n" for name, fact in sorted(facts["files"].items()))
    if committed.exists() and committed.read_text() != text and not accept_new_checksums:
        compare(facts, read_checksums(committed), committed)
        raise UserError(f"{committed}: lists files that {source} lacks; {_remedy(dataset)}")
    with replacing(committed) as temporary:
        temporary.write_text(text, encoding="utf-8")
        _link(found, raw_root / dataset)
    for record in raw_root.glob(f"*/{SOURCES}"):
        recorded = read_json(record).get("files", {})
        if any(recorded.get(name, fact) != fact for name, fact in facts["files"].items()):
            record.unlink()  # it tells of other files: the download step has to look again
    return facts


def file_facts(found: Mapping[str, Path]) -> dict[str, Any]:
    """Size and sha256 of each raw file; a folder counts as the list of its files' checksums."""
    return {"files": {name: _facts(path) for name, path in sorted(found.items())}}


def read_checksums(path: Path) -> dict[str, str]:
    """Name -> sha256 from a file in the format of `sha256sum`; nothing if there is no such file."""
    if not path.exists():
        return {}
    checksums: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        match = re.fullmatch(r"([0-9a-f]{64}) [ *](\S.*)", line)
        if match is None:
            raise UserError(f"{path}: line {number} is not '<64 hex digits>  <file name>'")
        checksums[match[2]] = match[1]
    return checksums


def compare(facts: Mapping[str, Any], checksums: Mapping[str, str], committed: Path) -> None:
    """Raise a `UserError` for the first raw file whose sha256 differs from the committed one."""
    for name, fact in facts["files"].items():
        wanted = checksums.get(name, "none")
        if fact["sha256"] != wanted:
            raise UserError(
                f"{name}: sha256 is {fact['sha256']}, {committed} says {wanted}; "
                f"{_remedy(committed.stem)}"
            )


def _remedy(dataset: str) -> str:
    return (
        f"get the right files, or accept these by `mmrobust import-data {dataset} FROM "
        "--accept-new-checksums`"
    )


def _facts(path: Path) -> dict[str, Any]:
    if path.is_file():
        return {"sha256": sha256_file(path), "bytes": path.stat().st_size}
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{sha256_file(file)}  {file.relative_to(path).as_posix()}\n" for file in files]
    return {
        "sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
        "bytes": sum(file.stat().st_size for file in files),
    }


def _link(found: Mapping[str, Path], folder: Path) -> None:
    """Make `folder` hold links to the files found, and no other links."""
    targets = {folder / name: path.resolve() for name, path in found.items()}
    for place, target in targets.items():
        if place.exists() and not place.is_symlink() and place.resolve() != target:
            raise UserError(f"{place}: is in the way; move it, then import again")
    make_folder(folder)
    with told_clearly(folder):
        for place in folder.iterdir():
            if place.is_symlink() and place not in targets:
                place.unlink()
        for place, target in targets.items():
            if place.resolve() != target:
                place.unlink(missing_ok=True)
                place.symlink_to(target)
