from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmrobust.augment.run import augment_data
from mmrobust.data.augmented import Augmented, load_augmented
from mmrobust.data.scenes.dataset import Scenes

DATASET = {
    "name": "scenes",
    "splits": {"train": 300, "dev": 4, "test": 4},
    "image_size": 24,
    "captions_per_scene": 3,
    "rare_word_rate": 0.05,
}
DATA_SEED = 7

Augment = Callable[..., Augmented]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    fields: dict[str, Any] = {key: value for key, value in DATASET.items() if key != "name"}
    Scenes(**fields).prepare(folder, seed=DATA_SEED)
    return folder


@pytest.fixture
def cfg() -> Callable[..., dict[str, Any]]:
    """What the verb is told, of an augmentation with some fields."""

    def make(method: str, n: int = 2, code: str = "1", **fields: Any) -> dict[str, Any]:
        return {
            "augmentation": {"method": method, "n": n, **fields},
            "dataset": DATASET,
            "data_seed": DATA_SEED,
            "device": "cpu",
            "threads": 1,
            "code": code,
        }

    return make


@pytest.fixture
def augment(data: Path, tmp_path: Path, cfg: Callable[..., dict[str, Any]]) -> Augment:
    """Make an augmented set and load it."""

    def run(method: str, n: int = 2, **fields: Any) -> Augmented:
        out = tmp_path / "out"
        augment_data(cfg(method, n, **fields), data=data, out=out, work=tmp_path / "work")
        return load_augmented(out, data=data)

    return run
