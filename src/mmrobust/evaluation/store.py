"""Finished cells, kept by the content of what they were computed from.

The store is work that may be thrown away: deleting it costs time and changes no byte of a
result. With it, a new attack computes its own cells and no other, and a killed evaluation loses
at most the cell that it was at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrobust.artifacts import digest
from mmrobust.errors import UserError
from mmrobust.evaluation.cells import Cell, read_cell, write_cell


@dataclass(frozen=True)
class CellStore:
    """A folder of cells named by the digest of their inputs."""

    folder: Path

    def path(self, inputs: Any) -> Path:
        """Where the cell computed from `inputs` (JSON-able) stands; all of them make the name."""
        return self.folder / digest(inputs)[:32] / "cell.json"

    def get(self, inputs: Any) -> Cell | None:
        """The stored cell, or None if there is none or if it can't be read."""
        path = self.path(inputs)
        try:
            return read_cell(path) if path.is_file() else None
        except UserError:
            return None

    def put(self, inputs: Any, cell: Cell) -> None:
        """Keep a cell; the record comes last, so a cell with a record is whole."""
        write_cell(self.path(inputs), cell)
