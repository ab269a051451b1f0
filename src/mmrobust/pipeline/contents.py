"""Files that were changed under an old time, which Snakemake would take for unchanged.

Snakemake looks at the content of an input only if its modification time is newer than what was
made from it, and a copy or an unpacked archive can bring other content under an older time. The
time of the last change of the file itself (ctime) can't be set, so a file that was changed after
its modification time gets a new one; Snakemake then compares its content with the checksum that it
took when the job ran, and reruns nothing if they are equal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

SETTLED = 1.0
"""Seconds by which the two times of a file differ that was written and renamed as usual."""


def read_from(study: str) -> list[Path]:
    """Folders and files that the jobs of a study read."""
    folders = [f"data/processed/{study}", f"data/augmented/{study}", f"results/{study}"]
    files = [Path("config/claims.yaml"), *Path("notebooks").glob("*.ipynb")]
    return [Path(folder) for folder in folders] + files + sorted(Path("data/raw").glob("*.sha256"))


def renew_times(places: Iterable[Path], *, warn: Callable[[str], None]) -> list[Path]:
    """Give files that were changed after their modification time a new one.

    Args:
        places: Folders, with all below them, and files; what is missing is passed over.
        warn: Told of a file whose time can't be set.

    Returns:
        Those files. Of a link it is the link's own time.
    """
    renewed = []
    for path in sorted(_files(places)):
        found = path.lstat() if path.is_symlink() else path.stat()
        if found.st_ctime - found.st_mtime <= SETTLED:
            continue
        try:
            os.utime(path, follow_symlinks=False)
        except OSError as error:
            warn(
                f"{path}: may have been changed under an old time, and can't get a new one "
                f"({error.strerror}); what is made from it may be stale"
            )
        else:
            renewed.append(path)
    return renewed


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            for folder, _, names in os.walk(place):
                yield from (Path(folder, name) for name in names)
        elif place.exists():
            yield place
