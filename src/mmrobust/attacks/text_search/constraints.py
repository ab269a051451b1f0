"""Constraints: which substitutes are admissible for a word, and which captions may be kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from mmrobust.attacks.text_search.base import (
    Choices,
    Language,
    characters_changed,
    words_changed,
)
from mmrobust.quantities import Fraction

Rule = Callable[[str, str], bool]
"""A word and what would stand in its place -> whether it may."""

Cosine = Annotated[float, Field(ge=-1, le=1)]

_ROUNDING = 1e-6  # of a cosine of unit vectors in single precision


@dataclass(frozen=True, kw_only=True)
class StopWords:
    """No word that carries grammar is replaced, and no word becomes one.

    Deviations:
        Released BERT-Attack brings a list of words and punctuation of its own; here it is the
        language's list, so that it follows the world that is attacked.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Literal["stop_words"] = "stop_words"

    def rule(self, language: Language) -> Rule:
        """Neither is a stop word."""
        stop_words = language.stop_words
        return lambda word, substitute: word not in stop_words and substitute not in stop_words


@dataclass(frozen=True, kw_only=True)
class NoSubwords:
    """No inner piece of a word stands alone (BERT-Attack: `##ing`)."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Literal["no_subwords"] = "no_subwords"

    def rule(self, language: Language) -> Rule:
        """The mark of inner pieces doesn't occur."""
        return lambda word, substitute: "##" not in substitute


@dataclass(frozen=True, kw_only=True)
class Antonyms:
    """No word becomes its opposite, which would be grammatical, likely, and false.

    Deviations:
        BERT-Attack filters antonyms for sentiment tasks alone, and the ports to image-text
        models (Co-Attack, SGA) not at all.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Literal["antonyms"] = "antonyms"

    def rule(self, language: Language) -> Rule:
        """Neither is listed as the other's opposite."""
        antonyms = language.antonyms
        return lambda word, substitute: (
            substitute not in antonyms.get(word, ()) and word not in antonyms.get(substitute, ())
        )


@dataclass(frozen=True, kw_only=True)
class NewWords:
    """A misspelling must not be another known word.

    The semantic constraint of LEAF (Abad Rocamora et al. 2025, arXiv 2506.03355), there after
    Chanakya et al. 2024.

    Deviations:
        Released LEAF wants fewer different English words in the attacked caption than in the
        original, which also bars edits of words that its dictionary lacks. Here known are the
        words of the language, and each substitute is judged by itself.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Literal["new_words"] = "new_words"

    def rule(self, language: Language) -> Rule:
        """The substitute is none of the language's words."""
        known = language.known_words()
        return lambda word, substitute: substitute not in known


@dataclass(frozen=True, kw_only=True)
class StaysTrue:
    """The caption is still true of its image; for worlds that decide it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Literal["truth"] = "truth"

    def allows_all(
        self,
        originals: Sequence[str],
        perturbed: Sequence[str],
        images: Sequence[int],
        language: Language,
    ) -> list[bool]:
        """Whether each caption is true; `UserError` where nothing decides it."""
        return [bool(held) for held in language.require_truth()(perturbed, images)]


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """The masked language model finds the caption similar to the original.

    Deviations:
        TextFooler and BERT-Attack measure it with the Universal Sentence Encoder; here it is the
        mean of the last hidden states, so that no second model is needed. Thresholds don't carry
        over.

    Fields:
        min_cosine: lowest cosine of the two captions' embeddings.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Literal["similarity"] = "similarity"
    min_cosine: Cosine

    def allows_all(
        self,
        originals: Sequence[str],
        perturbed: Sequence[str],
        images: Sequence[int],
        language: Language,
    ) -> list[bool]:
        """Whether each is similar enough; each distinct caption is embedded once.

        Raises:
            UserError: there is no masked language model.
        """
        masked_lm = language.require_masked_lm()
        rows = {text: row for row, text in enumerate(dict.fromkeys([*originals, *perturbed]))}
        embeddings = masked_lm.embed(list(rows))  # (distinct, H)
        before = embeddings[[rows[text] for text in originals]]
        after = embeddings[[rows[text] for text in perturbed]]
        cosine = (before * after).sum(dim=1)
        return [value >= self.min_cosine - _ROUNDING for value in cosine.tolist()]


@dataclass(frozen=True, kw_only=True)
class ShareOfWords:
    """Only a share of a caption's words differs (BERT-Attack, Li et al. 2020: 0.4).

    Deviations:
        One word may always change; of short captions BERT-Attack would change none.

    Fields:
        max_share: of the words, rounded down to whole ones.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Literal["share_of_words"] = "share_of_words"
    max_share: Fraction

    def allows_all(
        self,
        originals: Sequence[str],
        perturbed: Sequence[str],
        images: Sequence[int],
        language: Language,
    ) -> list[bool]:
        """Whether few enough words of each caption differ."""
        return [
            words_changed(a, b) <= max(1, _whole_share(self.max_share, len(a.split(" "))))
            for a, b in zip(originals, perturbed, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class ShareOfCharacters:
    """The Levenshtein distance is at most a share of the caption's length.

    Fields:
        max_share: of the original's characters, blanks included, rounded down.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Literal["share_of_characters"] = "share_of_characters"
    max_share: Fraction

    def allows_all(
        self,
        originals: Sequence[str],
        perturbed: Sequence[str],
        images: Sequence[int],
        language: Language,
    ) -> list[bool]:
        """Whether few enough characters of each caption were edited."""
        return [
            characters_changed(a, b) <= _whole_share(self.max_share, len(a))
            for a, b in zip(originals, perturbed, strict=True)
        ]


WordConstraint = StopWords | NoSubwords | Antonyms | NewWords
"""Judges a substitute by the word that it replaces, whatever the caption."""

CaptionConstraint = StaysTrue | Similarity | ShareOfWords | ShareOfCharacters
"""Judges a whole caption."""

Constraint = Annotated[WordConstraint | CaptionConstraint, Field(discriminator="kind")]
"""Any constraint, as a section of a configuration."""


def admissible(
    choices: Sequence[Choices],
    captions: Sequence[str],
    constraints: Sequence[WordConstraint | CaptionConstraint],
    language: Language,
) -> list[Choices]:
    """The choices that all constraints on words allow, in their order.

    Args:
        choices: substitutes for each word of each caption.
        captions: C captions.
        constraints: of both sorts; those on captions are left to `kept`.
        language: what the attacker knows.
    """
    rules = [each.rule(language) for each in constraints if isinstance(each, WordConstraint)]
    return [
        tuple(
            tuple(other for other in others if all(rule(word, other) for rule in rules))
            for word, others in zip(caption.split(" "), of_caption, strict=True)
        )
        for caption, of_caption in zip(captions, choices, strict=True)
    ]


def kept(
    originals: Sequence[str],
    perturbed: Sequence[str],
    images: Sequence[int],
    constraints: Sequence[WordConstraint | CaptionConstraint],
    language: Language,
) -> list[bool]:
    """Which rows all constraints on captions allow.

    A constraint sees only the rows that those before it left: name the cheap ones first.

    Args:
        originals: R captions as they were, repeated for each row.
        perturbed: R captions with words replaced.
        images: number of the image that each belongs to.
        constraints: of both sorts; those on words are left to `admissible`.
        language: what the attacker knows.
    """
    rows = list(range(len(originals)))
    for constraint in constraints:
        if isinstance(constraint, CaptionConstraint) and rows:
            allowed = constraint.allows_all(
                [originals[row] for row in rows],
                [perturbed[row] for row in rows],
                [images[row] for row in rows],
                language,
            )
            rows = [row for row, fine in zip(rows, allowed, strict=True) if fine]
    left = set(rows)
    return [row in left for row in range(len(originals))]


def _whole_share(share: float, count: int) -> int:
    """`share * count` rounded down, reckoned in decimals as written: 0.29 of 100 is 29."""
    return math.floor(Decimal(str(share)) * count)
