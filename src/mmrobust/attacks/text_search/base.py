"""What the parts of a text search share: captions as words, candidates, what is maximised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from mmrobust.errors import UserError
from mmrobust.models.base import MaskedLanguageModel

Choices = tuple[tuple[str, ...], ...]
"""For each word of a caption, the words that may stand in its place, the best first."""

Value = Callable[[Tensor, Tensor], Tensor]
"""Embeddings (R, D) of changed captions and the caption (R,) that each belongs to -> what is
maximised (R,)."""

Truth = Callable[[Sequence[str], Sequence[int]], NDArray[np.bool_]]
"""Captions (n,) and the numbers of images (n,) -> whether each caption is true of its image."""


@dataclass(frozen=True, kw_only=True)
class Language:
    """What an attacker knows of the language; attacks learn of the world through nothing else.

    Fields:
        synonyms: a word to words that mean the same.
        alternatives: a word to words of its kind, whatever they mean.
        antonyms: a word to its opposites.
        stop_words: words that carry grammar and no content.
        masked_lm: a masked language model; None where there is none.
        is_true: decides whether a caption is true of an image; None where nobody can.
    """

    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    alternatives: Mapping[str, Sequence[str]] = field(default_factory=dict)
    antonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stop_words: Set[str] = frozenset()
    masked_lm: MaskedLanguageModel | None = None
    is_true: Truth | None = None

    def known_words(self) -> set[str]:
        """All words that the lexicon knows."""
        known = set(self.stop_words)
        for lexicon in (self.synonyms, self.alternatives, self.antonyms):
            known.update(lexicon)
            known.update(*lexicon.values())
        return known

    def require_masked_lm(self) -> MaskedLanguageModel:
        """The masked language model; `UserError` where there is none."""
        if self.masked_lm is None:
            raise UserError(
                "this text attack asks a masked language model and the study has none; "
                "add a section `masked_lm`"
            )
        return self.masked_lm

    def require_truth(self) -> Truth:
        """What decides truth; `UserError` where nothing does."""
        if self.is_true is None:
            raise UserError(
                "a text budget or constraint asks whether captions stay true, which this dataset "
                "doesn't decide (allowed: `scenes`)"
            )
        return self.is_true


@dataclass(frozen=True)
class Sentence:
    """A caption under attack: its words now, and which of them are no longer the original ones."""

    words: tuple[str, ...]
    changed: frozenset[int] = frozenset()

    @property
    def text(self) -> str:
        """The caption."""
        return " ".join(self.words)

    def replace(self, position: int, word: str) -> Sentence:
        """The caption with one more word replaced."""
        words = (*self.words[:position], word, *self.words[position + 1 :])
        return Sentence(words, self.changed | {position})


def words_changed(original: str, perturbed: str) -> int:
    """Number of word positions that differ.

    Raises:
        ValueError: words were added or removed, which no budget of ours allows.
    """
    before, after = original.split(" "), perturbed.split(" ")
    if len(before) != len(after):
        raise ValueError(f"{original!r} and {perturbed!r} differ in their number of words")
    return sum(a != b for a, b in zip(before, after, strict=True))


def characters_changed(original: str, perturbed: str) -> int:
    """Levenshtein distance of two captions."""
    return int(Levenshtein.distance(original, perturbed))
