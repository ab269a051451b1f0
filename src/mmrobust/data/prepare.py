"""The verb `prepare-data`: a dataset's section to the object it configures, to files."""

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
    build_dataset(cfg["dataset"]).prepare(out, seed=cfg["data_seed"])


def build_dataset(section: Mapping[str, Any]) -> Dataset:
    """The dataset that a study's section `dataset` (with its `name`) configures.

    Raises:
        UserError: an unknown dataset, or a key or value that it does not allow.
    """
    values = dict(section)
    cls: type[Any] = resolve(DATASETS, values.pop("name"), kind="dataset", base=object)
    dataset: Dataset = build(cls, values, where="dataset")
    return dataset
