"""Whether a model reads the words: captions against themselves with one word made wrong.

A model that withstands attacks on captions because it ignores words answers at chance here. The
idea is that of compositional benchmarks (ARO, Yuksekgonul et al. 2023, arXiv:2210.01936;
SugarCrepe, Hsieh et al. 2023, arXiv:2306.14610); the negatives are our own.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmrobust.attacks.text_search.base import Language
from mmrobust.evaluation.metrics import caption_share
from mmrobust.evaluation.subject import Subject
from mmrobust.intervals import Resampling
from mmrobust.randomness import numpy_generator

_DRAWS = 8
"""Swaps that are tried before a caption is passed over."""


def hard_negatives(
    captions: Sequence[str], images: Sequence[int], language: Language
) -> list[str | None]:
    """Each caption with one word, and its article, replaced by one that means something else.

    Args:
        captions: C captions.
        images: number (C,) of the image of each, for whoever decides truth.
        language: words of the same kind, or opposites where no grammar knows kinds.

    Returns:
        C captions; None where no word can be replaced, or, in worlds that decide truth, none was
        found that makes the caption false. The draw is the same for all models.
    """
    rng = numpy_generator(0, "hard negatives")
    words = [caption.split(" ") for caption in captions]
    others = {word: _others(word, language) for word in set(itertools.chain(*words))}
    choices = [[others[word] for word in caption] for caption in words]
    found: list[str | None] = [None] * len(captions)
    todo = [row for row, of_caption in enumerate(choices) if any(of_caption)]
    for _ in range(_DRAWS):
        tried = [_swapped(words[row], choices[row], rng) for row in todo]
        wrong = np.ones(len(todo), dtype=bool)
        if language.is_true is not None and todo:
            wrong = ~language.is_true(tried, [images[row] for row in todo])
        for row, caption, is_wrong in zip(todo, tried, wrong.tolist(), strict=True):
            if is_wrong:
                found[row] = caption
        todo = [row for row, is_wrong in zip(todo, wrong.tolist(), strict=True) if not is_wrong]
    return found


def hard_negative_accuracy(
    subject: Subject, language: Language, resampling: Resampling
) -> dict[str, Any] | None:
    """Share of captions closer to their image than their hard negative is; chance is 1/2.

    Ties count against the model, and captions are clustered by image. None if the language gives
    no negatives.
    """
    split = subject.split
    owner = split.caption_image
    negatives = hard_negatives(split.captions, owner.tolist(), language)
    rows = np.array([row for row, text in enumerate(negatives) if text is not None], dtype=int)
    if not len(rows):
        return None
    wrong = subject.embed_attacked([text for text in negatives if text is not None])
    image = subject.clean_image[owner[rows]]
    closer = ((subject.clean_text[rows] - wrong).astype(np.float64) * image).sum(axis=1) > 0
    return caption_share(owner[rows], closer, resampling)


def _others(word: str, language: Language) -> tuple[str, ...]:
    """Words of the same kind that mean something else, as common as the word; or else opposites.

    A rarer word would tell which caption is wrong to who has never seen the picture. Each meaning
    has one common word, the first that its others name; of two words both may be.
    """
    same = {word, *language.synonyms.get(word, ())}
    kind = [other for other in language.alternatives.get(word, ()) if other not in same]
    alike = [other for other in kind if _is_common(other, language) == _is_common(word, language)]
    return tuple(alike or kind or language.antonyms.get(word, ()))


def _is_common(word: str, language: Language) -> bool:
    others = language.synonyms.get(word, ())
    return all(language.synonyms.get(other, (word,))[0] == word for other in others)


def _swapped(
    words: Sequence[str], choices: Sequence[tuple[str, ...]], rng: np.random.Generator
) -> str:
    at = int(rng.choice([place for place, others in enumerate(choices) if others]))
    other = choices[at][int(rng.integers(len(choices[at])))]
    before = list(words[:at])
    if before and before[-1] in ("a", "an"):
        before[-1] = "an" if other[0] in "aeiou" else "a"
    return " ".join([*before, other, *words[at + 1 :]])
