"""Facts about one run that differ between runs and machines, kept apart from results.

Processor, cores, memory and versions are named; host, user and paths never are.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from mmrobust.artifacts import write_json

PACKAGES = (
    *("diffusers", "mmrobust", "numpy", "open-clip-torch", "sacrebleu", "scipy"),
    *("tokenizers", "torch", "torchvision", "transformers", "wn"),
)

MADE = (":(top,exclude)results", ":(top,exclude)dvc.lock")
"""What a run makes of the files that git tracks."""


class RunFacts:
    """Measure a verb from its construction until `write`."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._started = time.monotonic()

    def write(self, path: Path, **extra: Any) -> None:
        """Write the facts, with `extra` ones of the verb, as JSON."""
        write_json(
            path,
            {
                "verb": self._verb,
                "wall_s": round(time.monotonic() - self._started, 1),
                "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                "processor": _processor(),
                "cores": len(os.sched_getaffinity(0)),
                "memory_gb": round(
                    os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1
                ),
                "python": platform.python_version(),
                "versions": {name: _version(name) for name in PACKAGES},
                "git_commit": _commit(),
                **extra,
            },
        )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit that is checked out, with `-dirty` behind it if tracked files were changed.

    Not by what a run itself makes, tables and the record of them, which are tracked too.
    """
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("diff", "--name-only", "HEAD", "--", ":/", *MADE)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changed else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
