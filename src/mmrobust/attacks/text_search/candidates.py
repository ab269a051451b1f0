"""Substitutes: which words may stand in place of each word of a caption, the best first."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product
from math import comb
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field
from rapidfuzz.distance import Levenshtein

from mmrobust.attacks.text_search.base import Choices, Language
from mmrobust.models.base import MaskedLanguageModel, PiecePredictions
from mmrobust.quantities import PositiveInt
from mmrobust.randomness import numpy_generator

Pieces = tuple[int, ...]
"""Numbers of the word pieces that spell a substitute."""

_MAX_PIECES, _BEST_PIECES = 12, 4  # of a word, and of the predictions for each piece
_SPECIAL_TOKENS = 2  # [CLS] and [SEP] around a caption's pieces


@dataclass(frozen=True, kw_only=True)
class LexiconCandidates:
    """Words that mean the same, from the lexicon."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Literal["lexicon"] = "lexicon"

    def propose(self, captions: Sequence[str], language: Language) -> list[Choices]:
        """Substitutes for each word of each caption, in the lexicon's order."""
        return _looked_up(captions, language.synonyms)


@dataclass(frozen=True, kw_only=True)
class GrammarCandidates:
    """Words of the same kind, whatever they mean: the caption stays grammatical, not true."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Literal["grammar"] = "grammar"

    def propose(self, captions: Sequence[str], language: Language) -> list[Choices]:
        """Substitutes for each word of each caption, in the grammar's order."""
        return _looked_up(captions, language.alternatives)


@dataclass(frozen=True, kw_only=True)
class MaskedLMCandidates:
    """What a masked language model, shown the whole caption, predicts at a word's own place.

    BERT-Attack (Li et al. 2020, arXiv 2004.09984, section 3.2) and its ports to Co-Attack (Zhang
    et al. 2022, arXiv 2206.09391) and SGA (Lu et al. 2023, arXiv 2307.14061). A word of one piece
    takes the `k` likeliest pieces. For a word of several, the 4 likeliest of each of its first 12
    pieces are combined, the first piece varying slowest; the first `max_combinations` are kept
    and ordered by their perplexity to the model, taken without the caption around them.

    Deviations:
        The ports read predictions that begin with [CLS] at places counted without it, so that a
        word gets what was predicted for the piece before it. `aligned` False does the same.
        Released code forms all 4^pieces combinations before it cuts them; here only those kept
        are formed, which are the same.
        A substitute with a space in it is dropped and a word that the model's context cuts has no
        substitutes: budgets count words, and a part of a word is none.

    Fields:
        k: predictions for each piece.
        threshold: raw logit below which a prediction for a word of one piece is dropped; 0 keeps
            all.
        aligned: whether a word takes the predictions at its own place.
        max_combinations: combinations for a word of several pieces.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Literal["masked_lm"] = "masked_lm"
    k: PositiveInt = 10
    threshold: float = 0.3
    aligned: bool = True
    max_combinations: PositiveInt = 24

    def propose(self, captions: Sequence[str], language: Language) -> list[Choices]:
        """Substitutes for each word of each caption, as the model spells them.

        Raises:
            UserError: there is no masked language model.
        """
        masked_lm = language.require_masked_lm()
        drafts = [self._drafts(found) for found in masked_lm.predict(captions, k=self.k)]
        perplexity = _perplexities(
            masked_lm, (pieces for draft in drafts for word in draft for pieces in word)
        )
        return [
            tuple(
                _cleaned(word, _spelled(masked_lm, sequences, perplexity))
                for word, sequences in zip(caption.split(" "), draft, strict=True)
            )
            for caption, draft in zip(captions, drafts, strict=True)
        ]

    def _drafts(self, found: PiecePredictions) -> list[list[Pieces]]:
        """What may replace each word of a caption, in pieces."""
        ids, scores = found.ids.tolist(), found.scores.tolist()
        offset = 1 if self.aligned else 0
        kept = len(ids) - _SPECIAL_TOKENS
        drafts: list[list[Pieces]] = []
        for start, stop in found.spans:
            rows = slice(start + offset, stop + offset)
            drafts.append(self._of_word(ids[rows], scores[rows]) if start < stop <= kept else [])
        return drafts

    def _of_word(self, ids: list[list[int]], scores: list[list[float]]) -> list[Pieces]:
        """What may replace a word with these predictions (pieces, k)."""
        if len(ids) == 1:
            pairs = zip(ids[0], scores[0], strict=True)
            return [(piece,) for piece, s in pairs if self.threshold == 0 or s >= self.threshold]
        best = [row[:_BEST_PIECES] for row in ids[:_MAX_PIECES]]
        return list(islice(product(*best), self.max_combinations))


@dataclass(frozen=True, kw_only=True)
class CharacterCandidates:
    """Misspellings: words at an exact Levenshtein distance, by edits of lower-case letters.

    After the character edits of LEAF (Abad Rocamora et al. 2025, arXiv 2506.03355, section 4).

    Deviations:
        LEAF edits a caption anywhere, with blanks, capitals, digits and punctuation among its
        characters, and looks first for the best of random places, then for the best of random
        characters there. Here an edit stays within a word and uses letters, so that the number of
        words is kept, and which place and letter hurt most is the search's business.

    Fields:
        distance: letters inserted, deleted or replaced.
        per_word: candidates drawn for each word; all where there are no more.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Literal["characters"] = "characters"
    distance: PositiveInt = 1
    per_word: PositiveInt = 20

    def propose(self, captions: Sequence[str], language: Language) -> list[Choices]:
        """Substitutes for each word of each caption; what is drawn depends on the word alone."""
        return [
            tuple(_misspellings(word, self.distance, self.per_word) for word in caption.split(" "))
            for caption in captions
        ]


Candidates = Annotated[
    LexiconCandidates | GrammarCandidates | MaskedLMCandidates | CharacterCandidates,
    Field(discriminator="kind"),
]
"""Where substitutes come from, as a section of a configuration."""


def _looked_up(captions: Sequence[str], lexicon: Mapping[str, Sequence[str]]) -> list[Choices]:
    return [
        tuple(_cleaned(word, lexicon.get(word, ())) for word in caption.split(" "))
        for caption in captions
    ]


def _cleaned(word: str, proposals: Iterable[str]) -> tuple[str, ...]:
    """The proposals that are one word and another one, each once."""
    return tuple(dict.fromkeys(p for p in proposals if p and p != word and " " not in p))


def _perplexities(
    masked_lm: MaskedLanguageModel, sequences: Iterable[Pieces]
) -> dict[Pieces, float]:
    """Perplexity of each distinct sequence of two pieces and more; one batch for each length."""
    by_length: dict[int, dict[Pieces, None]] = {}
    for pieces in sequences:
        if len(pieces) > 1:
            by_length.setdefault(len(pieces), {})[pieces] = None
    return {
        pieces: value
        for batch in by_length.values()
        for pieces, value in zip(
            batch, masked_lm.perplexity(torch.tensor(list(batch))).tolist(), strict=True
        )
    }


def _spelled(
    masked_lm: MaskedLanguageModel, sequences: list[Pieces], perplexity: Mapping[Pieces, float]
) -> list[str]:
    """The sequences as text: single pieces in their order, longer ones by perplexity."""
    ordered = sorted(sequences, key=lambda pieces: perplexity.get(pieces, 0.0))
    return [
        masked_lm.piece(pieces[0]) if len(pieces) == 1 else masked_lm.join(pieces)
        for pieces in ordered
    ]


@lru_cache(maxsize=65_536)
def _misspellings(word: str, distance: int, count: int) -> tuple[str, ...]:
    """`count` words, or all there are, at exactly this distance from a word."""
    if not word:
        return ()
    generator = numpy_generator(0, "character edits", word)
    # So many can be had by insertions alone. Where that is plenty, draw and keep what is new;
    # else all are few enough to be listed.
    if comb(len(word) + distance, distance) * 25**distance < 4 * count:
        every = sorted(_all_misspellings(word, distance))
        return tuple(every[i] for i in generator.permutation(len(every))[:count])
    drawn: dict[str, None] = {}
    while len(drawn) < count:
        edited = word
        for _ in range(distance):
            place, letter = generator.integers([2 * len(edited) + 1, 27]).tolist()
            edited = _edited(edited, place, letter)
        if edited and Levenshtein.distance(word, edited) == distance:
            drawn[edited] = None
    return tuple(drawn)


def _all_misspellings(word: str, distance: int) -> set[str]:
    """All words at exactly this distance from a word."""
    reached = {word}
    for _ in range(distance):
        reached = {
            _edited(other, place, letter)
            for other in reached
            for place in range(2 * len(other) + 1)
            for letter in range(27)
        }
    return {other for other in reached if other and Levenshtein.distance(word, other) == distance}


def _edited(word: str, place: int, letter: int) -> str:
    """Write a letter into a place: the even ones lie between characters, the odd ones are these.

    Letter 26 is none: it deletes a character, and does nothing between two.
    """
    written = string.ascii_lowercase[letter : letter + 1]
    return word[: place // 2] + written + word[(place + 1) // 2 :]
