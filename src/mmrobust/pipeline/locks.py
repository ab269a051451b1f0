"""Who holds the lock on a study: a run that is alive, or one that was killed.

Snakemake alone decides whether a run may start, and says the same of either. A run leaves a note of
itself, by which a refusal says in one line whose lock it is and what to do.

It stands in for the exception of Snakemake's, which `snakemake>=9.27,<10` in pyproject.toml holds
still.
"""

from __future__ import annotations

import atexit
import json
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import snakemake.exceptions
from snakemake.logging import logger

from mmrobust.artifacts import write_json
from mmrobust.errors import UserError

NOTES = Path(".snakemake") / "runs"
"""One file for each run that is under way, or was killed."""

CLOCK = 1.0  # seconds by which two readings of the time at which a process began may differ


@dataclass(frozen=True)
class Note:
    """Who runs a study: the process `pid` on `host` that began at `began`, in epoch seconds."""

    study: str
    host: str
    pid: int
    began: float

    @property
    def file(self) -> Path:
        """Where it stands."""
        return NOTES / f"{self.host}-{self.pid}.json"

    @property
    def is_here(self) -> bool:
        """Whether it is of this machine, where it can be looked for."""
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether the process is there; another may have its number by now."""
        try:
            began: float = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            return False
        return abs(began - self.began) < CLOCK


def note_run(study: str) -> None:
    """Leave a note of this run until it ends; to be called from `onstart`.

    A run that was killed leaves its note; it goes when the next run starts. A note that can't be
    written is no reason not to run.
    """
    for note in _notes(study):
        if note.is_here and not note.is_alive:
            note.file.unlink(missing_ok=True)
    me = psutil.Process()
    note = Note(study, socket.gethostname(), me.pid, me.create_time())
    try:
        write_json(note.file, asdict(note))
    except UserError as error:
        logger.warning(f"no note of who holds the lock: {error}")
    atexit.register(note.file.absolute().unlink, missing_ok=True)


def explain_locks(study: str) -> None:
    """Let Snakemake say of a lock whose it is, if it refuses to run a study."""

    class StudyIsLocked(snakemake.exceptions.WorkflowError):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(whose_lock(study))

    snakemake.exceptions.LockException = StudyIsLocked


def whose_lock(study: str) -> str:
    """Whose lock keeps a study from running, and what to do about it, in one line."""
    notes = _notes(study)
    alive = [note for note in notes if note.is_here and note.is_alive]
    away = [note for note in notes if not note.is_here]
    start = f"study {study!r} is locked (.snakemake/locks)"
    unlock = "`snakemake --unlock` with the same options, then run again; finished jobs are kept"
    if alive:
        pids = ", ".join(str(note.pid) for note in alive)
        return f"{start} by a run that is alive, process {pids}: wait for it, or stop it first"
    if away:
        where = ", ".join(f"{note.host} (process {note.pid})" for note in away)
        return f"{start} by a run on {where}: wait for it, or if it was killed, {unlock}"
    if notes:
        return f"{start} by a run that was killed (process {notes[-1].pid}): {unlock}"
    return f"{start} by a run that left no note of itself: if none is alive, {unlock}"


def _notes(study: str) -> list[Note]:
    """The notes of runs of a study; what can't be read is none."""
    found = []
    for file in sorted(NOTES.glob("*.json")):
        try:
            note = Note(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue
        if note.study == study:
            found.append(note)
    return found
