"""Whether a model reads the words: captions against themselves with one word made wrong.

A model that withstands attacks on captions because it ignores words answers at chance here. The
idea is that of compositional benchmarks (ARO, Yuksekgonul et al. 2023, arXiv:2210.01936;
SugarCrepe, Hsieh et al. 2023, arXiv:2306.14610); the negatives are our own.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from mmrobust.attacks.text_search.base import Language
from mmrobust.evaluation.metrics import caption_share
from mmrobust.evaluation.subject import Subject
from mmrobust.intervals import Resampling
from mmrobust.randomness import numpy_generator

_DRAWS = 8
"""Rewritings that are tried before a caption is passed over."""

Words = Sequence[Sequence[str]]
"""Captions as words."""
Choices = Sequence[Sequence[Sequence[str]]]
"""For each word of each caption the words that may take its place."""


def hard_negatives(
    captions: Sequence[str], images: Sequence[int], language: Language
) -> list[str | None]:
    """Each caption with one word, and its article, replaced by one that means something else.

    The new word is as rare as the old one where a grammar knows words of the same kind: a rarer
    word would tell which caption is wrong to who has never seen the picture.

    Args:
        captions: C captions.
        images: number (C,) of the image of each, for whoever decides truth.
        language: words of the same kind, or opposites where no grammar knows kinds.

    Returns:
        C captions; None where no word can be replaced, or, in worlds that decide truth, none was
        found that makes the caption false. The draw is the same for all models.
    """
    words, vocabulary = _split(captions), _Vocabulary(captions, language)
    choices = [[vocabulary.others(word) for word in caption] for caption in words]
    rng = numpy_generator(0, "hard negatives")
    return _rewritten(words, choices, images, language, rng, true=False)


def rare_word_pairs(
    captions: Sequence[str], images: Sequence[int], language: Language
) -> list[tuple[str, str] | None]:
    """Each caption said with a rare word, right and wrong.

    In the first of a pair a rarer word of the same meaning stands for one word, as attacks on
    captions put it there; in the second a word as rare that means something else stands at the
    same place. A model that passes over rare words can't tell the two apart.

    Args:
        captions: C captions.
        images: number (C,) of the image of each, for whoever decides truth.
        language: words of the same meaning, and of the same kind or opposite.

    Returns:
        C pairs; None where there is none, as in `hard_negatives`.
    """
    words, vocabulary = _split(captions), _Vocabulary(captions, language)
    rng = numpy_generator(0, "rare words")
    rarer = [[vocabulary.rarer(word) for word in caption] for caption in words]
    right = _rewritten(words, rarer, images, language, rng, true=True)
    told = [[] if text is None else text.split(" ") for text in right]
    there = [
        [vocabulary.as_rare(new) if new in vocabulary.rarer(old) else () for old, new in pairs]
        for pairs in (zip(*of, strict=False) for of in zip(words, told, strict=True))
    ]
    wrong = _rewritten(told, there, images, language, rng, true=False)
    return [None if b is None else (a or "", b) for a, b in zip(right, wrong, strict=True)]


def reading_checks(
    subject: Subject, language: Language, resampling: Resampling
) -> dict[str, dict[str, Any]]:
    """Shares of captions that a model finds closer to their image than the same made wrong.

    `hard_negatives` is of the captions as they are, `rare_hard_negatives` of those said with a
    rare word. Chance is 1/2, ties count against the model, and captions are clustered by image. A
    share that the language gives no negatives for is left out.
    """
    captions, owner = subject.split.captions, subject.split.caption_image
    images = owner.tolist()
    swapped = hard_negatives(captions, images, language)
    pairs: dict[str, list[tuple[str, str] | None]] = {
        "hard_negatives": [
            None if wrong is None else (right, wrong)
            for right, wrong in zip(captions, swapped, strict=True)
        ],
        "rare_hard_negatives": rare_word_pairs(captions, images, language),
    }
    shares = {}
    for name, of_captions in pairs.items():
        found = {row: pair for row, pair in enumerate(of_captions) if pair is not None}
        if found:
            rows = np.array(list(found))
            # In one call, so that captions which read alike tie exactly.
            both = subject.embed_attacked([*itertools.chain.from_iterable(found.values())])
            right, wrong = both[::2], both[1::2]
            image = subject.clean_image[owner[rows]]
            lead = ((right - wrong).astype(np.float64) * image).sum(axis=1)
            shares[name] = caption_share(owner[rows], lead > 0, resampling)
    return shares


class _Vocabulary:
    """Words that may stand for a word; of two that mean the same, which is rarer in captions."""

    def __init__(self, captions: Sequence[str], language: Language) -> None:
        self.language = language
        self.occurs = Counter(itertools.chain.from_iterable(_split(captions)))
        self.others = cache(self._others)
        self.rarer = cache(self._rarer)

    def _others(self, word: str) -> tuple[str, ...]:
        """Words of the same kind that mean something else, as rare; or else opposites."""
        same = {word, *self.language.synonyms.get(word, ())}
        kind = [of for of in self.language.alternatives.get(word, ()) if of not in same]
        alike = [of for of in kind if self._is_rare(of) == self._is_rare(word)]
        return tuple(alike or kind or self.language.antonyms.get(word, ()))

    def _rarer(self, word: str) -> tuple[str, ...]:
        """Rare words for the meaning of one that isn't; none where there is no twin for them."""
        if self._is_rare(word):
            return ()
        same = self.language.synonyms.get(word, ())
        return tuple(of for of in same if self._is_rare(of) and self.as_rare(of))

    def as_rare(self, word: str) -> tuple[str, ...]:
        """Those of the others of a rare word that are rare."""
        return tuple(of for of in self.others(word) if self._is_rare(of))

    def _is_rare(self, word: str) -> bool:
        """Whether another word for the same occurs more often."""
        return any(
            self.occurs[of] > self.occurs[word] for of in self.language.synonyms.get(word, ())
        )


def _split(captions: Sequence[str]) -> list[list[str]]:
    return [caption.split(" ") for caption in captions]


def _rewritten(
    words: Words,
    choices: Choices,
    images: Sequence[int],
    language: Language,
    rng: np.random.Generator,
    *,
    true: bool,
) -> list[str | None]:
    """Captions with one word replaced; in worlds that decide truth, those true or false as told."""
    found: list[str | None] = [None] * len(words)
    todo = [row for row, of_caption in enumerate(choices) if any(of_caption)]
    for _ in range(_DRAWS):
        tried = [_swapped(words[row], choices[row], rng) for row in todo]
        fits = np.ones(len(todo), dtype=bool)
        if language.is_true is not None and todo:
            fits = language.is_true(tried, [images[row] for row in todo]) == true
        for row, caption, fit in zip(todo, tried, fits.tolist(), strict=True):
            if fit:
                found[row] = caption
        todo = [row for row, fit in zip(todo, fits.tolist(), strict=True) if not fit]
    return found


def _swapped(
    words: Sequence[str], choices: Sequence[Sequence[str]], rng: np.random.Generator
) -> str:
    at = int(rng.choice([place for place, others in enumerate(choices) if others]))
    other = choices[at][int(rng.integers(len(choices[at])))]
    before = list(words[:at])
    if before and before[-1] in ("a", "an"):
        before[-1] = "an" if other[0] in "aeiou" else "a"
    return " ".join([*before, other, *words[at + 1 :]])
