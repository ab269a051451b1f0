"""The finished smoke study, to change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def changed_clone(smoke_run, tmp_path) -> Path:
    """A copy of the finished clone."""
    return Path(shutil.copytree(smoke_run[0], tmp_path / "clone", symlinks=True))
