"""Notes of what fingerprints covered, so that a changed one can be told by its modules.

Snakemake keeps the fingerprint that a job was run with, 16 digits; these files keep what it was
made of. They may be thrown away between runs: a change is then told without its modules.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from mmrobust.artifacts import read_json, write_json
from mmrobust.errors import UserError
from mmrobust.pipeline.fingerprint import edited_modules

FOLDER = Path("work/code")
SOURCE = Path(__file__).parents[2]

Parts = Mapping[str, str]


def keep_notes(covered: Mapping[str, Parts], folder: Path = FOLDER, *, as_of: float = 0.0) -> None:
    """Keep what fingerprints cover, one file each; a folder that can't be written is passed over.

    Args:
        covered: What `fingerprint.parts` listed, by fingerprint.
        folder: Where the notes lie.
        as_of: A time before the code was read; an edit since is looked for.
    """
    for name, parts in covered.items():
        path = folder / f"{name}.json"
        if not path.exists():
            try:
                write_json(path, dict(parts))
                os.utime(path, (as_of, as_of))
            except (OSError, UserError):
                return


def check_code(names: Iterable[str], *, source: Path = SOURCE, folder: Path = FOLDER) -> None:
    """Refuse to work with other code than fingerprints say, which a run took when it began.

    What a job makes or keeps for later is known by its fingerprint. A job that a scheduler starts
    takes its fingerprint anew, and one of edited code has no note. Where there are no notes at all
    nothing is asked: jobs without shared files bring the code of the run's beginning.

    Args:
        names: The fingerprints.
        source: The folder that holds the package.
        folder: Where the notes lie.

    Raises:
        UserError: A module was edited since.
    """
    if not folder.is_dir():
        return
    notes = [folder / f"{name}.json" for name in names]
    unknown = [note.stem for note in notes if not note.exists()]
    if unknown:
        raise UserError(f"code was edited after the run had begun ({unknown[0]} is new); run again")
    since = min((note.stat().st_mtime for note in notes), default=0.0)
    edited = edited_modules(map(read_json, notes), source=source, since=since)
    if edited:
        raise UserError(f"{edited[0]} was edited after the run had begun; run again")


def code_changes(old: str, new: str, covered: Mapping[str, Parts], folder: Path = FOLDER) -> str:
    """Say what changed between two fingerprints.

    Args:
        old: That of the last run.
        new: That of now, whose parts are in `covered`.
        covered: As for `keep_notes`.
        folder: Where the notes lie.
    """
    try:
        before = read_json(folder / f"{old}.json")
    except UserError:
        return f"{old} -> {new} (there is no note of what {old} was)"
    now = covered[new]
    changed = [_shown(name, before[name], now[name]) for name in now if name in before]
    lines = [
        *(line for line in changed if line),
        *(f"{name} is imported now" for name in now if name not in before),
        *(f"{name} is no longer imported" for name in before if name not in now),
    ]
    return "; ".join(lines)


def _shown(name: str, before: str, now: str) -> str:
    if before == now:
        return ""
    ours = name.split(".")[0] == "mmrobust" or name.startswith("mmrobust/")
    return f"{name} was edited" if ours else f"{name} {before} -> {now}"
