from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrobust.errors import UserError
from mmrobust.models.encoding import token_lengths
from mmrobust.models.tokenizer import (
    END_ID,
    PAD_ID,
    START_ID,
    BytePairTokenizer,
    TokenizerConfig,
    save_tokenizer,
    train_tokenizer,
)

CAPTIONS = ["a red ring and a blue ring", "a blue star", "a red star"] * 5


def test_frames_pads_and_counts(tmp_path: Path) -> None:
    trained = train_tokenizer(CAPTIONS, TokenizerConfig(vocab_size=60))
    save_tokenizer(trained, tmp_path / "tokenizer.json")
    tokenizer = BytePairTokenizer(tmp_path / "tokenizer.json", context_length=16)
    tokens = tokenizer(["a red ring", "star", "A RED RING"])
    assert tokens.dtype == torch.int64
    assert (tokens[:, 0] == START_ID).all()
    lengths = token_lengths(tokens)
    assert (tokens[torch.arange(3), lengths - 1] == END_ID).all()
    assert (tokens[1, int(lengths[1]) :] == PAD_ID).all()
    assert torch.equal(tokens[0], tokens[2])
    assert tokenizer.vocab_size <= 60


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_words_are_encoded_as_the_whole_caption_is(captions: list[str]) -> None:
    """Hugging Face's own pass over the caption is the oracle."""
    trained = train_tokenizer(CAPTIONS, TokenizerConfig(vocab_size=60))
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(trained, Path(folder) / "tokenizer.json")
        tokenizer = BytePairTokenizer(Path(folder) / "tokenizer.json", context_length=16)
    trained.enable_truncation(max_length=16)
    trained.enable_padding(pad_id=PAD_ID)
    expected = [encoding.ids for encoding in trained.encode_batch(captions)]
    assert tokenizer(captions).tolist() == expected


def test_equal_captions_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        save_tokenizer(train_tokenizer(CAPTIONS, TokenizerConfig(vocab_size=60)), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_word_that_training_never_saw_has_no_piece() -> None:
    trained = train_tokenizer(CAPTIONS, TokenizerConfig(vocab_size=200))
    vocabulary = trained.get_vocab()
    assert "star" in vocabulary
    assert "crimson" not in vocabulary


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json: not a tokenizer file"):
        BytePairTokenizer(tmp_path / "tokenizer.json", 8)
    with pytest.raises(UserError, match=r"missing\.json: file is missing; run again"):
        BytePairTokenizer(tmp_path / "missing.json", 8)
