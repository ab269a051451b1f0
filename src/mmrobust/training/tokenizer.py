"""The verb `train-tokenizer`: the small models' tokenizer, from the training split alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmrobust.config import build
from mmrobust.data.prepared import load_split
from mmrobust.models.tokenizer import TokenizerConfig, save_tokenizer
from mmrobust.models.tokenizer import train_tokenizer as learn


def train_tokenizer(cfg: Mapping[str, Any], *, data: Path, out: Path) -> None:
    """Learn the tokenizer and write it.

    Args:
        cfg: section `tokenizer`.
        data: the prepared dataset; only its training split is opened.
        out: file of the tokenizer.
    """
    config = build(TokenizerConfig, cfg, where="tokenizer")
    save_tokenizer(learn(load_split(data, "train").captions, config), out)
