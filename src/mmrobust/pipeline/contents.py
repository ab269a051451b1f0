"""Files that were changed under an old time, which Snakemake would take for unchanged.

Snakemake looks at the content of an input only if its modification time is newer than what was
made from it, and a copy or an unpacked archive can bring other content under an older time. The
time of the last change of the file itself (ctime) can't be set, so a file that was changed after
its modification time is compared with the checksums that Snakemake took when jobs had read it. If
it differs it gets a new time, and Snakemake sees to the rest.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mmrobust.artifacts import read_json, sha256_file, write_json
from mmrobust.errors import UserError
from mmrobust.pipeline import own_models
from mmrobust.study import Study

SETTLED = 1.0
"""Seconds by which the two times of a file differ that was written and renamed as usual."""

METADATA = Path(".snakemake/metadata")
NOTE = Path(".snakemake/compared.json")
"""Change times of files that were compared already."""


def read_from(study: Study) -> list[Path]:
    """Folders and files that the jobs of a study read."""
    own = [f"{folder}/{study.study}" for folder in ("data/processed", "data/augmented", "results")]
    texts = [Path("config/claims.yaml"), *Path("notebooks").glob("*.ipynb")]
    raw = [*Path("data/raw").glob("*.sha256"), *Path("data/raw").glob("*/sources.json")]
    return [*map(Path, [*own, *own_models.named(study)]), *sorted(texts), *sorted(raw)]


def renew_times(places: Iterable[Path], *, warn: Callable[[str], None]) -> list[Path]:
    """Give a new time to files that differ from what jobs read, if theirs is not newer.

    Args:
        places: Folders, with all below them, and files; what is missing is passed over.
        warn: Told of a file whose time can't be set.

    Returns:
        Those files. Of a link it is the link's own time.
    """
    compared = _noted()
    found = {str(path): _changed_at(path) for path in _files(places)}
    suspect = {path: at for path, at in found.items() if at and compared.get(path) != at}
    if not suspect:
        return []
    recorded = _recorded_checksums()
    renewed = []
    for path in sorted(suspect):
        if recorded.get(path, set()) <= {f"sha256:{sha256_file(Path(path))}"}:
            continue
        try:
            os.utime(path, follow_symlinks=False)
        except OSError as error:
            warn(
                f"{path}: was changed under an old time and can't get a new one "
                f"({error.strerror}); what is made from it is stale"
            )
            del suspect[path]
        else:
            renewed.append(Path(path))
    with contextlib.suppress(OSError):  # it saves time, and nothing else hangs on it
        write_json(NOTE, {**compared, **suspect})
    return renewed


def _noted() -> dict[str, int]:
    try:
        noted: dict[str, int] = read_json(NOTE)
    except UserError:
        return {}
    return noted


def _changed_at(path: Path) -> int:
    """When a file was changed, if that was after its modification time; else 0."""
    found = path.lstat() if path.is_symlink() else path.stat()
    return found.st_ctime_ns if found.st_ctime - found.st_mtime > SETTLED else 0


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            for folder, _, names in os.walk(place):
                yield from (Path(folder, name) for name in names)
        elif place.exists():
            yield place


def _recorded_checksums() -> dict[str, set[str]]:
    """What Snakemake kept of each input, of all jobs that read it."""
    found: dict[str, set[str]] = {}
    for path in METADATA.rglob("*"):
        if path.is_file():
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:  # half-written, by a run that was killed or goes on
                continue
            for file, checksum in (record.get("input_checksums") or {}).items():
                found.setdefault(file, set()).add(checksum)
    return found
