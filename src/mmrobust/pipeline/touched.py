"""Files that `snakemake --touch` made look fresh: no job made them as they are recorded.

After it, Snakemake's own records say that the files come from the code and the parameters of now.
Nothing in them tells a touched file from one that was made, so it is noted here, by its time.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mmrobust.artifacts import read_json, write_json

NOTE = Path(".snakemake/touched.json")


def mark_touched(files: Iterable[str]) -> None:
    """Note that some files were touched, at the time that they have now."""
    times = {str(file): _time(file) for file in files if Path(file).exists()}
    write_json(NOTE, {**_noted(), **times})


def unmark_touched(files: Iterable[str]) -> None:
    """Forget that some files were touched: their bytes are known to be those on record."""
    kept = {file: time for file, time in _noted().items() if file not in {*map(str, files)}}
    if NOTE.exists():
        write_json(NOTE, kept)


def is_touched(file: str) -> bool:
    """Whether a file was touched and not made again since."""
    return str(file) in (noted := _noted()) and noted[str(file)] == _time(file)


def _time(file: str) -> int:
    return Path(file).stat().st_mtime_ns


def _noted() -> dict[str, int]:
    if not NOTE.exists():
        return {}
    noted: dict[str, int] = read_json(NOTE)
    return noted
