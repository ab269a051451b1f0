from __future__ import annotations

from pathlib import Path

import pytest

from mmrobust.models.tokenizer import TokenizerConfig, save_tokenizer, train_tokenizer


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    captions = ["a red ring", "a big blue star to the left of a red ring"]
    save_tokenizer(train_tokenizer(captions, TokenizerConfig(vocab_size=80)), path)
    return path
