"""Diversity: how much an item's augmentations differ from one another.

Waseda et al., arXiv:2405.18770, ask that augmented pairs be diverse; how they measure it is not
known. Which measures are taken, and over what, is ours. Each comes as one value an item; what has
too few captions or pictures to differ is None.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
NGrams = Counter[tuple[str, ...]]

BLEU_ORDER = 4

_WORD = re.compile(r"[\w']+")


def words_of(caption: str) -> list[str]:
    """Words of a caption without case and punctuation, which are no diversity."""
    return _WORD.findall(caption.lower())


def embedding_spread(vectors: Array) -> Array | None:
    """1 - mean cosine over all pairs of an item's m embeddings.

    The sum over pairs is (|sum of vectors|^2 - m) / 2, so that no pair is looked at.

    Args:
        vectors: (m, R, D) unit vectors of an item's captions, or of its pictures.

    Returns:
        (R,) in [0, m / (m - 1)]; None for m = 1.
    """
    m = len(vectors)
    if m < 2:
        return None
    total = vectors.sum(axis=0)
    spread: Array = 1 - ((total**2).sum(axis=1) - m) / (m * (m - 1))
    return spread.clip(min=0)  # rounding carries that of copies below


def pixel_difference(pictures: NDArray[np.uint8]) -> Array | None:
    """Mean absolute difference of pixels in [0, 1], over all pairs of an item's m pictures.

    In ascending order the k-th of m values, from 0, stands above k others and below m - 1 - k,
    so that the sum over pairs is a weighted sum of the sorted values.

    Args:
        pictures: uint8 (m, R, H, W, 3).

    Returns:
        (R,) in [0, 1]; None for m = 1.
    """
    m = len(pictures)
    if m < 2:
        return None
    weights = 2.0 * np.arange(m) - (m - 1)
    summed = np.tensordot(weights, np.sort(pictures, axis=0), axes=1)  # (R, H, W, 3)
    difference: Array = summed.mean(axis=(1, 2, 3)) / (255 * m * (m - 1) / 2)
    return difference


def distinct_n(captions: Sequence[Sequence[str]], n: int) -> Array:
    """Distinct n-grams of an item's captions over all its n-grams, captions pooled.

    Li et al. 2016, arXiv:1510.03055. The more captions, the more n-grams come again whatever
    their diversity: compare at one number of captions.

    Deviations:
        pool: the captions of one item, where the paper pools what a system says to all inputs.
            Pooled over items the measure tells how large a vocabulary is, and hardly how an
            item's captions differ.
        scale: all n-grams, where the paper divides by all words, so that 1 can be reached.

    Args:
        captions: R items' captions, at least one each.
        n: words of an n-gram.

    Returns:
        (R,) in (0, 1]; NaN for an item none of whose captions has n words.
    """
    shares = np.full(len(captions), np.nan)
    for row, own in enumerate(captions):
        counts = Counter(gram for caption in own for gram in _ngrams(words_of(caption), n))
        if counts:
            shares[row] = len(counts) / counts.total()
    return shares


def self_bleu(captions: Sequence[Sequence[str]], *, scored: int | None = None) -> Array | None:
    """Mean BLEU-4 of an item's captions, each against the item's others as references.

    Zhu et al. 2018 (Texygen), arXiv:1802.01886. Sentence level; an order without a match counts
    0.1 matches, as in Texygen's code (NLTK's method 1, sacrebleu's `floor`). 1 if captions are
    copies of one another; diversity is 1 - self-BLEU. The more captions, the more is found among
    the others: compare at one number of captions. A caption that comes twice is found whole, so
    that few captions repeated often are no less diverse than one: `distinct_n` and
    `embedding_spread` tell them apart.

    Deviations:
        references: an item's other captions, where Texygen takes all that was generated, since
            diversity is asked for within an item.
        short captions: orders longer than the caption are left out (sacrebleu's effective
            order). By Texygen's code a copy of fewer than four words scores below 1.

    Args:
        captions: R items' captions, m of each.
        scored: how many of them, from the first, are scored; the others are only references.
            None for all.

    Returns:
        (R,) in [0, 1]; None for m = 1.
    """
    if len(captions[0]) < 2:
        return None
    return np.array([np.mean(_bleu_against_others(own, scored)) for own in captions])


def _bleu_against_others(captions: Sequence[str], scored: int | None) -> list[float]:
    """BLEU of each caption against the others; n-grams are counted once a caption.

    sacrebleu's own `sentence_score` counts all references anew for each caption.
    """
    from sacrebleu.metrics.bleu import BLEU

    words = [words_of(caption) for caption in captions]
    grams = [_counts(one) for one in words]
    scores = []
    for row in range(len(captions) if scored is None else scored):
        others = grams[:row] + grams[row + 1 :]
        lengths = [len(one) for one in words[:row] + words[row + 1 :]]
        own = len(words[row])
        matched = [0] * BLEU_ORDER
        for gram, count in grams[row].items():
            matched[len(gram) - 1] += min(count, max(other.get(gram, 0) for other in others))
        found = BLEU.compute_bleu(
            matched,
            [max(0, own - order) for order in range(BLEU_ORDER)],
            own,
            _closest(lengths, own),
            smooth_method="floor",
            effective_order=True,
        )
        scores.append(min(found.score / 100, 1.0))  # rounding can carry it above 1
    return scores


def _closest(lengths: Sequence[int], length: int) -> int:
    """The reference length that brevity is judged by; of two as close, the shorter."""
    return min(lengths, key=lambda other: (abs(other - length), other))


def _counts(words: Sequence[str]) -> NGrams:
    """How often each n-gram of 1 to `BLEU_ORDER` words stands in a caption."""
    return Counter(gram for n in range(1, BLEU_ORDER + 1) for gram in _ngrams(words, n))


def _ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[start:] for start in range(n)), strict=False))
