"""Files that `snakemake --touch` made look fresh: no job made them as they are recorded.

After it, Snakemake's own records say that the files come from the code and the parameters of now.
Nothing in them tells a touched file from one that was made, so it is noted here, by its time.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mmrobust.artifacts import read_json, write_json

NOTE = Path(".snakemake/touched.json")
BEGUN = Path(".snakemake/touching.json")
"""Times that files had before the last run with `--touch`, which may have been killed."""


def begin_touching(files: Iterable[str]) -> None:
    """Note which files a run with `--touch` is about to touch."""
    write_json(BEGUN, {str(file): _time(file) for file in files if Path(file).exists()})


def settle_touched() -> None:
    """Note which files the last run with `--touch` did touch; to be called before jobs run."""
    if BEGUN.exists():
        write_json(NOTE, {**_noted(), **_just_touched()})
        BEGUN.unlink()


def unmark_touched(files: Iterable[str]) -> None:
    """Forget that some files were touched: their bytes are known to be those on record."""
    settle_touched()
    kept = {file: time for file, time in _noted().items() if file not in {*map(str, files)}}
    if NOTE.exists():
        write_json(NOTE, kept)


def is_touched(file: str) -> bool:
    """Whether a file was touched and not made again since."""
    return {**_noted(), **_just_touched()}.get(str(file)) == _time(file)


def _just_touched() -> dict[str, int]:
    before: dict[str, int] = read_json(BEGUN) if BEGUN.exists() else {}
    there = {file: _time(file) for file in before if Path(file).exists()}
    return {file: time for file, time in there.items() if time != before[file]}


def _noted() -> dict[str, int]:
    noted: dict[str, int] = read_json(NOTE) if NOTE.exists() else {}
    return noted


def _time(file: str) -> int:
    return Path(file).stat().st_mtime_ns
