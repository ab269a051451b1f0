"""Snakemake, run as a user runs it: a process of its own in a project folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def smoke_run(fresh_clone, tool) -> tuple[Path, str]:
    """A fresh clone in which the whole smoke study ran on two cores, and what that run printed."""
    clone = fresh_clone("smoke")
    arguments = ["--cores", "2", "--configfile", "config/smoke.yaml"]
    return clone, tool("snakemake", *arguments, cwd=clone).stdout
