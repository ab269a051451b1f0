"""Easy data augmentation: a few words of a caption replaced, inserted, swapped or deleted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from mmrobust.augment.base import Augmenter, Generate, Made, Modality, Source, Sources
from mmrobust.augment.wordnet import wordnet_synonyms
from mmrobust.data.prepared import Lexicon
from mmrobust.errors import UserError
from mmrobust.quantities import Fraction

Operation = Literal["replace", "insert", "swap", "delete"]
Synonyms = Callable[[str], Sequence[str]]
"""Synonyms of a word; none for a stop word."""


@dataclass(frozen=True, kw_only=True)
class EDA(Augmenter):
    """One of four small changes to each caption. Wei and Zou 2019, arXiv:1901.11196, section 2.

    An operation changes n = max(1, floor(alpha * length)) words of a caption. A caption to which
    the drawn operation can't be applied stays as it is: no word has a synonym, or there is only
    one word to swap or delete.

    Deviations:
        operations: each caption gets one, drawn anew for every augmentation. The released code
            makes equally many by each operation, shuffles them and keeps as many as were asked for.
        delete: exactly n words, never all. Paper and code delete each word with probability
            alpha, so that one in three captions of ten words would stay as it is.
        replace: n places, as in the paper. The released code draws words and replaces a word
            wherever it stands.
        insert: a synonym drawn at random of a word of the caption as it was, at any place. The
            released code takes the first synonym that it finds, also of a word that it inserted
            itself or of a stop word, never puts it last, and gives up after ten words without one.
        swap: of two different words, if there are such.
        characters: the released code lower-cases and drops what are no letters; captions were
            normalised when they were prepared.

    Fields:
        operations: of which one is drawn for each caption, with equal probability.
        alpha: share of the words that change.
        synonyms: the dataset's lexicon, or WordNet, see `mmrobust.augment.wordnet`. Stop words are
            the lexicon's in either case.
    """

    reads: ClassVar[Modality] = "caption"
    writes: ClassVar[Modality] = "caption"

    operations: Annotated[
        tuple[Operation, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})
    ] = ("replace", "insert", "swap", "delete")
    alpha: Fraction = 0.1
    synonyms: Literal["lexicon", "wordnet"] = "lexicon"

    def __post_init__(self) -> None:
        if len(set(self.operations)) < len(self.operations):
            raise UserError(
                "augmentations: eda: operations: must be distinct "
                f"(got {', '.join(self.operations)})"
            )

    def open(self, source: Source) -> Generate:
        """Look synonyms up.

        Raises:
            UserError: WordNet is asked for and not installed.
        """
        synonyms = self._synonyms(source.lexicon)
        changes = [_CHANGES[name] for name in self.operations]

        def generate(sources: Sources, rng: np.random.Generator) -> Made:
            captions = [source.split.captions[row].split() for row in sources.captions]
            drawn = rng.integers(len(changes), size=len(captions))
            made = []
            for words, which in zip(captions, drawn, strict=True):
                n = max(1, math.floor(self.alpha * len(words)))
                made.append(" ".join(changes[which](words, n, synonyms, rng)))
            return Made(made)

        return generate

    def _synonyms(self, lexicon: Lexicon) -> Synonyms:
        of_word: Synonyms = (
            wordnet_synonyms()
            if self.synonyms == "wordnet"
            else lambda word: lexicon.synonyms.get(word, ())
        )
        return lambda word: () if word in lexicon.stop_words else of_word(word)


def replace_words(
    words: Sequence[str], n: int, synonyms: Synonyms, rng: np.random.Generator
) -> list[str]:
    """Put a synonym in each of `n` places; in fewer if fewer hold a word that has any."""
    places = [place for place, word in enumerate(words) if synonyms(word)]
    changed = list(words)
    for which in rng.permutation(len(places))[:n]:
        changed[places[which]] = _one_of(synonyms(words[places[which]]), rng)
    return changed


def insert_words(
    words: Sequence[str], n: int, synonyms: Synonyms, rng: np.random.Generator
) -> list[str]:
    """Put a synonym of one of the words anywhere, `n` times; never if no word has any."""
    known = [word for word in words if synonyms(word)]
    changed = list(words)
    for _ in range(n if known else 0):
        new = _one_of(synonyms(_one_of(known, rng)), rng)
        changed.insert(int(rng.integers(len(changed) + 1)), new)
    return changed


def swap_words(
    words: Sequence[str], n: int, synonyms: Synonyms, rng: np.random.Generator
) -> list[str]:
    """Swap two different words, `n` times; never if all are equal."""
    changed = list(words)
    for _ in range(n if len(set(words)) > 1 else 0):
        one = int(rng.integers(len(changed)))
        others = [place for place, word in enumerate(changed) if word != changed[one]]
        other = others[rng.integers(len(others))]
        changed[one], changed[other] = changed[other], changed[one]
    return changed


def delete_words(
    words: Sequence[str], n: int, synonyms: Synonyms, rng: np.random.Generator
) -> list[str]:
    """Take `n` words out; one stays in any case."""
    kept = rng.permutation(len(words))[min(n, len(words) - 1) :]
    return [words[place] for place in np.sort(kept)]


_CHANGES: Mapping[str, Callable[..., list[str]]] = {
    "replace": replace_words,
    "insert": insert_words,
    "swap": swap_words,
    "delete": delete_words,
}


def _one_of(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]
