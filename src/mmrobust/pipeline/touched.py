"""Files that `snakemake --touch` made look fresh: no job made them as they are recorded.

After it, Snakemake's own records say that the files come from the code and the parameters of now.
Nothing in them tells a touched file from one that was made, so it is noted here, by its time.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mmrobust.artifacts import read_json, write_json

NOTE = Path(".snakemake/touched.json")
BEGUN = Path(".snakemake/touching")
"""Times that files had before the last run of each study with `--touch`, which may be killed."""


def begin_touching(study: str, files: Iterable[str]) -> None:
    """Note which files a run with `--touch` is about to touch; to be called under its lock."""
    write_json(_begun(study), {str(file): _time(file) for file in files if Path(file).exists()})


def settle_touched(study: str) -> None:
    """Note which files the last run with `--touch` did touch; to be called before jobs run."""
    begun = _begun(study)
    if begun.exists():
        write_json(NOTE, {**_noted(), **_touched_since(begun)})
        begun.unlink()


def unmark_touched(study: str, files: Iterable[str]) -> None:
    """Forget that some files were touched: their bytes are known to be those on record."""
    settle_touched(study)
    kept = {file: time for file, time in _noted().items() if file not in {*map(str, files)}}
    if NOTE.exists():
        write_json(NOTE, kept)


def touched_files() -> set[str]:
    """The files that were touched and not made again since."""
    noted = _noted()
    for begun in BEGUN.glob("*.json"):
        noted |= _touched_since(begun)
    return {file for file, time in noted.items() if Path(file).exists() and _time(file) == time}


def _begun(study: str) -> Path:
    return BEGUN / f"{study}.json"


def _touched_since(begun: Path) -> dict[str, int]:
    before: dict[str, int] = read_json(begun)
    there = {file: _time(file) for file in before if Path(file).exists()}
    return {file: time for file, time in there.items() if time != before[file]}


def _noted() -> dict[str, int]:
    noted: dict[str, int] = read_json(NOTE) if NOTE.exists() else {}
    return noted


def _time(file: str) -> int:
    return Path(file).stat().st_mtime_ns
