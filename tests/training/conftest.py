from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmrobust.data.prepared import load_split
from mmrobust.data.scenes.dataset import Scenes
from mmrobust.models.tokenizer import TokenizerConfig, save_tokenizer, train_tokenizer

MODEL = {
    "architecture": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
        "text_cfg": {"context_length": 40, "width": 16, "heads": 2, "layers": 1},
    }
}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    Scenes(splits={"train": 48, "dev": 8, "test": 8}, image_size=32).prepare(folder, seed=7)
    return folder


@pytest.fixture(scope="session")
def tokenizer(data: Path) -> Path:
    trained = train_tokenizer(load_split(data, "train").captions, TokenizerConfig(vocab_size=150))
    save_tokenizer(trained, data / "tokenizer.json")
    return data / "tokenizer.json"


@pytest.fixture
def cfg() -> Callable[..., dict[str, Any]]:
    """Configuration of a small training job; keywords change the method's fields."""

    def make(method: str = "mat", epochs: int = 2, **fields: Any) -> dict[str, Any]:
        return {
            "model": MODEL,
            "training": {"epochs": epochs, "batch_size": 16, "learning_rate": 0.001},
            "defence": {"method": method, **fields},
            "seed": 3,
            "threads": 1,
            "device": "cpu",
        }

    return make
