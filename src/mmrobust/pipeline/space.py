"""A run that has no room to begin: Snakemake's own notes would break off with a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

from mmrobust.disk import AGAIN
from mmrobust.errors import UserError

LEAST = 8 * 2**20
"""Bytes for the locks, logs and records of a run; what jobs write, they say themselves."""


def check_space(folder: Path) -> None:
    """Raise `UserError` if the disk of a folder is full."""
    free = shutil.disk_usage(folder).free
    if free < LEAST:
        raise UserError(
            f"{folder}: no space left on its disk ({free / 2**20:.1f} of at least "
            f"{LEAST // 2**20} MB); free some, {AGAIN}"
        )
