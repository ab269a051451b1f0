"""Finished cells, kept by the content of what they were computed from.

The store is work that may be thrown away: deleting it costs time and changes no byte of a
result. With it, a new attack computes its own cells and no other, and a killed evaluation loses
at most the cell that it was at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mmrobust.artifacts import digest, read_json, together, write_json
from mmrobust.errors import UserError
from mmrobust.evaluation.cells import Cell, read_cell, write_cell
from mmrobust.example_records import read_examples, write_examples


@dataclass(frozen=True)
class CellStore:
    """A folder of cells named by the digest of their inputs."""

    folder: Path

    def path(self, inputs: Any) -> Path:
        """Where the cell computed from `inputs` (JSON-able) stands; all of them make the name."""
        return self.folder / digest(inputs)[:32] / "cell.json"

    def get(self, inputs: Any) -> tuple[Cell, pd.DataFrame] | None:
        """The stored cell and its examples, or None if there is none or if it can't be read."""
        path = self.path(inputs)
        try:
            if not path.is_file():
                return None
            return read_cell(path), read_examples(path.with_name("examples.parquet"))
        except UserError:
            return None

    def seconds(self, inputs: Any) -> float | None:
        """How long the stored cell took to compute; None if nothing says so."""
        try:
            return float(read_json(self.path(inputs).with_name("seconds.json")))
        except UserError:
            return None

    def put(self, inputs: Any, cell: Cell, examples: pd.DataFrame, *, seconds: float) -> None:
        """Keep a cell; the record comes last, so a cell with a record is whole."""
        path = self.path(inputs)
        with together():
            write_json(path.with_name("seconds.json"), seconds)
            write_examples(path.with_name("examples.parquet"), examples)
            write_cell(path, cell)
