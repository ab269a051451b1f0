"""Raw files over HTTP: checked, resumed where they broke off, whole or absent.

`pooch` owns the check and the final name; the downloader handed to it adds what it lacks.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pooch

from mmrobust.artifacts import write_json, write_text
from mmrobust.data.archives import check_archive, extract, is_archive
from mmrobust.data.raw import RawFiles, compare, file_facts, raw_needs, read_checksums
from mmrobust.data.resuming import ResumingDownloader, Sleep
from mmrobust.disk import make_folder, told_clearly
from mmrobust.errors import UserError, unknown_name

_SOURCE_KEYS = ("sha256", "unpack", "url")


def download(
    dataset: str,
    config: Mapping[str, Any],
    raw_root: Path,
    out: Path,
    *,
    sleep: Sleep = time.sleep,
) -> dict[str, Any]:
    """Fill `raw_root` with what `dataset` is made from, and record it; what is there is kept.

    Args:
        dataset: registered name, or `lexicon`.
        config: the `dataset:` block of the study. Read here: `sources: {<file>: {url, sha256,
            unpack}}`, where `sha256` may be left out if the committed list has it and `unpack:
            true` also unpacks the archive into a folder named after it; `accept_terms: true`;
            and the keys that say where raw files lie. Files that the study has elsewhere than
            in `raw_root` are looked at there, recorded, and neither fetched nor judged.
        raw_root: the project's folder of raw data.
        out: the record, `sources.json`.
        sleep: waits between attempts.

    Returns:
        {"files": {name: {"sha256": hex, "bytes": int}}}: the content of `out`.

    Raises:
        UserError: no address, terms not accepted, a wrong checksum, an unsafe archive, or a
            server that does not answer.
    """
    facts: dict[str, Any] = {"files": {}}
    for key, expected in raw_needs(dataset).items():
        folder = raw_root / expected.dataset
        place = Path(config.get(key) or folder)
        if not place.resolve().is_relative_to(folder.resolve()):
            found = expected.locate(place)
            facts["files"] |= file_facts(found)["files"]
        else:
            facts["files"] |= _fill(expected, config, raw_root, sleep=sleep)["files"]
    write_json(out, facts)
    return facts


def _fill(
    expected: RawFiles, config: Mapping[str, Any], raw_root: Path, *, sleep: Sleep
) -> dict[str, Any]:
    """Fetch what `raw_root/<dataset>/` lacks, verify what it holds, unpack what is to be."""
    folder = raw_root / expected.dataset
    sources = _sources(expected, config)
    for name, source in sources.items():
        if not expected.find(folder, name):
            _fetch(expected, name, source, config, raw_root, sleep=sleep)
    try:
        present = expected.locate(folder)
    except UserError as error:
        raise UserError(
            f"{error}; import it by `mmrobust import-data {expected.dataset} FROM`, or give its "
            "address under `dataset.sources`"
        ) from None
    facts = file_facts(present)
    _verify(facts, sources, raw_root / f"{expected.dataset}.sha256")
    for name, source in sources.items():
        unpacked = folder / name.partition(".")[0]
        if source.get("unpack") and name in present and not unpacked.exists():
            extract(folder / name, unpacked)
    return facts


def _sources(expected: RawFiles, config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The configured sources of this dataset's own files, with their keys checked."""
    chosen = {}
    for name, source in (config.get("sources") or {}).items():
        if not isinstance(source, Mapping) or not source.get("url"):
            raise UserError(f"dataset.sources.{name}: allowed is {{url: ..., sha256: ...}}")
        for key in source:
            if key not in _SOURCE_KEYS:
                raise unknown_name(f"key of dataset.sources.{name}", key, _SOURCE_KEYS)
        if not str(source["url"]).startswith(("http://", "https://")):
            raise UserError(f"dataset.sources.{name}.url: allowed is http:// or https://")
        if name in expected.names:
            chosen[name] = source
    return chosen


def _fetch(
    expected: RawFiles,
    name: str,
    source: Mapping[str, Any],
    config: Mapping[str, Any],
    raw_root: Path,
    *,
    sleep: Sleep,
) -> None:
    """Download one file to its final name, checked and safe."""
    if expected.terms:
        print(f"{expected.dataset}: {expected.terms}", file=sys.stderr)
        if config.get("accept_terms") is not True:
            raise UserError(
                f"the terms of {expected.dataset} are not accepted: read them above and set "
                "`dataset.accept_terms: true`"
            )
    committed = raw_root / f"{expected.dataset}.sha256"
    wanted = source.get("sha256") or read_checksums(committed).get(name)
    if wanted is None:
        raise UserError(f"{name}: nothing to check it by; give `dataset.sources.{name}.sha256`")
    folder = raw_root / expected.dataset
    make_folder(folder)
    downloader = ResumingDownloader(part=folder / f".{name}.part", sleep=sleep)
    # A part from an earlier run may be of an older file: then a second, fresh try is due.
    for last in (False, True) if downloader.part.exists() else (True,):
        try:
            with told_clearly(folder / name):
                pooch.retrieve(
                    source["url"], wanted, fname=name, path=folder, downloader=downloader
                )
            break
        except ValueError as error:
            if last:
                raise UserError(f"{error} Check `dataset.sources.{name}`.") from None
    try:
        if is_archive(folder / name):
            check_archive(folder / name)
    except UserError:
        (folder / name).unlink()
        raise


def _verify(
    facts: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]], committed: Path
) -> None:
    """Hold the files against both lists of checksums; start the committed one if there is none."""
    for name, fact in facts["files"].items():
        wanted = sources.get(name, {}).get("sha256") or fact["sha256"]
        if fact["sha256"] != wanted:
            raise UserError(
                f"{committed.with_suffix('') / name}: sha256 is {fact['sha256']}, "
                f"`dataset.sources.{name}.sha256` says {wanted}; remove the file to download it "
                "again, or correct the key"
            )
    if committed.exists():
        compare(facts, read_checksums(committed), committed)
    else:
        lines = [f"{fact['sha256']}  {name}\n" for name, fact in sorted(facts["files"].items())]
        write_text(committed, "".join(lines))
