"""Notes of what fingerprints covered, so that a changed one can be told by its modules.

Snakemake keeps the fingerprint that a job was run with, 16 digits; these files keep what it was
made of. They may be thrown away: a change is then told without its modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from mmrobust.artifacts import read_json, write_json
from mmrobust.errors import UserError
from mmrobust.pipeline.fingerprint import edited_modules

FOLDER = Path("work/code")
SOURCE = Path(__file__).parents[2]

Parts = Mapping[str, str]


def keep_notes(covered: Mapping[str, Parts], folder: Path = FOLDER) -> None:
    """Keep what fingerprints cover, one file each; a folder that can't be written is passed over.

    Args:
        covered: What `fingerprint.parts` listed, by fingerprint.
        folder: Where the notes lie.
    """
    for name, parts in covered.items():
        path = folder / f"{name}.json"
        if not path.exists():
            try:
                write_json(path, dict(parts))
            except (OSError, UserError):
                return


def check_code(names: Iterable[str], *, source: Path = SOURCE, folder: Path = FOLDER) -> None:
    """Refuse to work with other code than fingerprints say, which a run took when it began.

    What a job makes or keeps for later is known by its fingerprint. A fingerprint without a note is
    passed over: some jobs of clusters have none at hand, and bring the code of the run's beginning.

    Args:
        names: The fingerprints.
        source: The folder that holds the package.
        folder: Where the notes lie.

    Raises:
        UserError: A module was edited since.
    """
    notes = [note for name in names if (note := folder / f"{name}.json").exists()]
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
