"""How long jobs and cells took in past runs: from Snakemake's benchmarks and the run facts."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean

from mmrobust.artifacts import read_json
from mmrobust.errors import UserError


class PastRuns:
    """Times of a study's jobs and cells, in seconds.

    Args:
        study: Its name.
        logs: Folder of the benchmarks.
        results: Folder of the results.
    """

    def __init__(
        self, study: str, *, logs: Path = Path("logs"), results: Path = Path("results")
    ) -> None:
        self._logs, self._cells = logs / study, results / study / "cells"

    def job(self, benchmark: Path) -> float | None:
        """How long a job took, or its like on the mean; None if none of its rule has run."""
        own = _seconds(benchmark)
        if own is not None:
            return own
        folder = benchmark.parent
        if folder == self._logs:
            return None
        return _mean(_seconds(path) for path in sorted(folder.glob("*.tsv")))

    def cells(self, defence: str, seed: str, names: Sequence[str]) -> float | None:
        """How long some cells of a model took, or their like on the mean; None if none has run."""
        if not self._by_model:
            return None
        own = self._by_model.get((defence, f"seed{seed}"), {})
        times = [own.get(name, self._mean_of(name)) for name in names]
        return sum(times) + self._start

    def _mean_of(self, name: str) -> float:
        of_cell = [times[name] for times in self._by_model.values() if name in times]
        every = [time for times in self._by_model.values() for time in times.values()]
        return fmean(of_cell or every)

    @cached_property
    def _by_model(self) -> dict[tuple[str, str], dict[str, float]]:
        found = {}
        for path in sorted(self._cells.glob("*/seed*/run.json")):
            try:
                times = read_json(path).get("cell_seconds")
            except UserError:
                continue
            if times:
                found[path.parts[-3], path.parts[-2]] = times
        return found

    @cached_property
    def _start(self) -> float:
        """What an evaluation takes beside its cells: imports, and loading of models."""
        beside = []
        for (defence, seed), times in self._by_model.items():
            facts = read_json(self._cells / defence / seed / "run.json")
            took = _seconds(self._logs / "evaluate_model" / f"{defence}_{seed}.tsv")
            if took is not None:
                beside.append(took - sum(times[name] for name in facts["cells_computed"]))
        return max(0.0, fmean(beside)) if beside else 0.0


def _seconds(benchmark: Path) -> float | None:
    """The time of the last run that a benchmark file holds; None if it holds none."""
    try:
        with benchmark.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        return float(rows[-1]["s"])
    except (OSError, IndexError, KeyError, ValueError):
        return None


def _mean(times: Iterable[float | None]) -> float | None:
    known = [time for time in times if time is not None]
    return fmean(known) if known else None
