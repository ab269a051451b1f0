"""How long jobs and cells took in past runs.

From Snakemake's benchmarks, the run facts, and the store of cells.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from mmrobust.artifacts import read_json
from mmrobust.errors import UserError

Model = tuple[str, str]
"""Names of its folders, of the defence and of the seed."""


class PastRuns:
    """Times of a study's jobs and cells, in seconds.

    Args:
        study: Its name.
        logs: Folder of the benchmarks.
        results: Folder of the results.
        store: Folder of the cells that were computed.
    """

    def __init__(
        self,
        study: str,
        *,
        logs: Path = Path("logs"),
        results: Path = Path("results"),
        store: Path = Path("work/cells"),
    ) -> None:
        self._study, self._store = study, store
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
    def _whole(self) -> dict[Model, dict[str, Any]]:
        """The facts of evaluations by all attacks of a study."""
        found = {}
        for path in sorted(self._cells.glob("*/seed*/run.json")):
            try:
                facts = read_json(path)
            except UserError:
                continue
            if facts.get("cell_seconds"):
                found[path.parts[-3], path.parts[-2]] = facts
        return found

    @cached_property
    def _by_model(self) -> dict[Model, dict[str, float]]:
        """Times of cells; of those that only a part of the study asked for, the store knows."""
        found = {model: dict(facts["cell_seconds"]) for model, facts in self._whole.items()}
        for model, cell, seconds in self._stored():
            found.setdefault(model, {}).setdefault(cell, seconds)
        return found

    def _stored(self) -> Iterator[tuple[Model, str, float]]:
        """Yield model, name and time of each cell in the store, the latest first."""
        kept = self._store.glob("*/seconds.json")
        for path in sorted(kept, key=lambda path: path.stat().st_mtime, reverse=True):
            try:
                seconds, record = read_json(path), read_json(path.with_name("cell.json"))
            except UserError:
                continue
            if record["study"] == self._study:
                yield (record["defence"], f"seed{record['seed']}"), record["attack"], seconds

    @cached_property
    def _start(self) -> float:
        """What an evaluation takes beside its cells: imports, and loading of models."""
        beside = []
        for (defence, seed), facts in self._whole.items():
            took = _seconds(self._logs / "evaluate_model" / f"{defence}_{seed}.tsv")
            if took is not None:
                times = facts["cell_seconds"]
                beside.append(took - sum(times[name] for name in facts["cells_computed"]))
        if beside:
            return max(0.0, fmean(beside))
        return min(self._beside_single_cells(), default=0.0)

    def _beside_single_cells(self) -> Iterator[float]:
        """Yield what jobs of one cell took beside it.

        Part of that may be other cells, which it builds on. A job that took less than its cell
        found it in the store.
        """
        for (defence, seed), times in self._by_model.items():
            for name, seconds in times.items():
                took = _seconds(self._logs / "evaluate_cell" / f"{defence}_{seed}_{name}.tsv")
                if took is not None and took >= seconds:
                    yield took - seconds


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
