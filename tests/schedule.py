"""Which tests go to which worker: the longest first, and those of a finished study to one."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

STUDY = "smoke_run"
"""Fixture of a finished study, which takes minutes: files that ask for it share a worker."""


class StudyScheduling(LoadScopeScheduling):
    """Hands out tests one by one, but for those that share a finished study."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        return STUDY if asks_for_study(self.config.rootpath / file) else nodeid


@cache
def asks_for_study(file: Path) -> bool:
    """Whether tests of a file ask for the finished study."""
    return STUDY in file.read_text(encoding="utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> StudyScheduling:
    """Schedule the tests."""
    return StudyScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest first, where there are workers."""
    if hasattr(config, "workerinput"):
        items.sort(
            key=lambda item: (
                not asks_for_study(item.path),
                item.get_closest_marker("workflow") is None,
            )
        )
