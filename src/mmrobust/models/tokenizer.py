"""Byte-pair tokenizer of the small models, trained on the training split's captions.

Only the training split is read: a word that stands in test captions alone has no piece of its
own and is spelled with the pieces of others.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from mmrobust.artifacts import MAKE, REMAKE, write_text
from mmrobust.disk import missing
from mmrobust.errors import UserError
from mmrobust.quantities import PositiveInt

# The Rust tokenizer would start a thread per core, whatever the job was granted.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import NFKC, Lowercase
from tokenizers.normalizers import Sequence as Normalizers
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer

PAD, START, END, UNKNOWN = "<pad>", "<start>", "<end>", "<unk>"
SPECIAL_TOKENS = (PAD, START, END, UNKNOWN)
PAD_ID, START_ID, END_ID, UNKNOWN_ID = range(len(SPECIAL_TOKENS))


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """What is learned: at most `vocab_size` pieces, the four special ones among them."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    vocab_size: PositiveInt = 512


def train_tokenizer(captions: Iterable[str], config: TokenizerConfig) -> Tokenizer:
    """Learn byte-pair merges from captions; equal captions in equal order give equal merges."""
    tokenizer = Tokenizer(BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = Normalizers([NFKC(), Lowercase()])
    tokenizer.pre_tokenizer = Whitespace()
    trainer = BpeTrainer(
        vocab_size=config.vocab_size, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    tokenizer.train_from_iterator(captions, trainer)
    tokenizer.post_processor = TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, START_ID), (END, END_ID)]
    )
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Write the tokenizer in Hugging Face's `tokenizer.json` format, atomically."""
    write_text(path, tokenizer.to_str(pretty=True) + "\n")


class BytePairTokenizer:
    """Captions to padded token ids, cut to the model's context length (the end token is kept).

    Pieces never cross a space, so each word is looked up once and kept: a text attack encodes
    thousands of captions that differ in one word, and the tokenizer would be a tenth of its time.
    """

    def __init__(self, path: Path, context_length: int) -> None:
        try:
            self._tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise missing(path, MAKE) from None
        except Exception as error:  # the Rust library raises bare Exception
            raise UserError(f"{path}: not a tokenizer file ({error})", REMAKE) from None
        self._context_length = context_length
        self._pieces: dict[str, list[int]] = {}

    @property
    def vocab_size(self) -> int:
        """Number of pieces, special ones included."""
        return int(self._tokenizer.get_vocab_size())

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Token ids (B, T), int64, T the longest caption's length in pieces."""
        rows = []
        for caption in captions:
            row = [START_ID]
            for word in caption.split(" "):
                row += self._pieces.get(word) or self._look_up(word)
            rows.append([*row[: self._context_length - 1], END_ID])
        longest = max(map(len, rows), default=0)
        padded = [row + [PAD_ID] * (longest - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.int64)

    def _look_up(self, word: str) -> list[int]:
        ids = list(self._tokenizer.encode(word, add_special_tokens=False).ids)
        self._pieces[word] = ids
        return ids
