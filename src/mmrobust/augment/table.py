"""The verb `tabulate-augmentations`: the measurements of all augmented sets as one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mmrobust.artifacts import read_json, replacing
from mmrobust.errors import UserError

COLUMNS = [
    *("study", "augmentation", "method", "n", "modality", "measure"),
    *("value", "low", "high", "items", "confidence"),
]


def tabulate(cfg: Mapping[str, Any], *, measured: Path, out: Path) -> None:
    """Write one row a measure of an augmented set, in the study's order.

    Args:
        cfg: `study`, and `augmentations` (name -> method) in the order of the table.
        measured: folder of NAME.json, see `measure.measure_augmentation`.
        out: the table, a CSV; what is undefined stays empty.

    Raises:
        UserError: a file that is missing or holds no measurements.
    """
    rows = []
    for name, method in cfg["augmentations"].items():
        path = measured / f"{name}.json"
        found = read_json(path)
        if not isinstance(found, dict) or not {"confidence", "rows"} <= found.keys():
            raise UserError(f"{path}: not the measurements of an augmented set")
        about = {"study": cfg["study"], "method": method, "confidence": found["confidence"]}
        rows += [about | row for row in found["rows"]]
    with replacing(out) as temporary:
        pd.DataFrame(rows, columns=COLUMNS).to_csv(temporary, index=False, lineterminator="\n")
