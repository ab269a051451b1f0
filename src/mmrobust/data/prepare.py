"""The verb `prepare-data`: a dataset's section to the prepared format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from mmrobust.config import build
from mmrobust.data import DATASETS
from mmrobust.registry import resolve


class Dataset(Protocol):
    """What a registered dataset is: its configuration, which knows how to prepare itself."""

    def prepare(self, out: Path, *, seed: int) -> None:
        """Write the prepared format (`mmrobust.data.prepared`) to `out`."""


def prepare_data(cfg: Mapping[str, Any], *, out: Path) -> None:
    """Prepare the dataset of a study.

    Args:
        cfg: sections `dataset` (with its `name`) and `data_seed`.
        out: folder of the prepared dataset.
    """
    section = dict(cfg["dataset"])
    cls: type[Any] = resolve(DATASETS, section.pop("name"), kind="dataset", base=object)
    dataset: Dataset = build(cls, section, where="dataset")
    dataset.prepare(out, seed=cfg["data_seed"])
