from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from mmrobust.augment.diversity import (
    distinct_n,
    embedding_spread,
    pixel_difference,
    self_bleu,
    words_of,
)

WORDS = ("a", "red", "ring", "beside", "the", "big", "blue", "star", "on", "dark", "ground")


def unit_vectors(seed: int, *shape: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=shape)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def spoken(seed: int, n_items: int, per_item: int) -> list[list[str]]:
    """Captions of 1 to 9 words, so that some are shorter than the longest n-gram."""
    rng = np.random.default_rng(seed)
    return [
        [" ".join(rng.choice(WORDS, size=rng.integers(1, 10))) for _ in range(per_item)]
        for _ in range(n_items)
    ]


def test_embedding_spread_is_taken_over_all_pairs() -> None:
    vectors = unit_vectors(0, 5, 7, 6)
    pairs = [1 - (a * b).sum(axis=1) for a, b in combinations(vectors, 2)]
    assert embedding_spread(vectors) == pytest.approx(np.mean(pairs, axis=0))


def test_embedding_spread_of_copies_orthogonal_and_opposite_vectors() -> None:
    right, up = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    vectors = np.array([[right, right, right], [right, up, -right]])
    assert embedding_spread(vectors) == pytest.approx([0, 1, 2])


def test_pixel_difference_is_taken_over_all_pairs() -> None:
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, size=(5, 3, 4, 4, 3)).astype(np.uint8)
    pairs = [
        np.abs(a.astype(float) - b.astype(float)).mean(axis=(1, 2, 3)) / 255
        for a, b in combinations(pictures, 2)
    ]
    assert pixel_difference(pictures) == pytest.approx(np.mean(pairs, axis=0))


def test_pixel_difference_of_black_and_white() -> None:
    black, white = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 255, np.uint8)
    assert pixel_difference(np.stack([black, white])) == pytest.approx([1])
    assert pixel_difference(np.stack([black, white, black])) == pytest.approx([2 / 3])


def test_one_alone_has_no_diversity_to_measure() -> None:
    assert embedding_spread(unit_vectors(0, 1, 7, 6)) is None
    assert pixel_difference(np.zeros((1, 7, 2, 2, 3), np.uint8)) is None
    assert self_bleu([["a red ring"], ["a star"]]) is None


def test_words_have_neither_case_nor_punctuation() -> None:
    assert words_of("A man's hat, black-and-white.") == [
        *("a", "man's", "hat", "black", "and", "white")
    ]


def test_distinct_n_pools_the_captions_of_an_item() -> None:
    captions = [["A ring, a", "a ring"], ["star star", "star star"]]
    assert distinct_n(captions, 1) == pytest.approx([2 / 5, 1 / 4])
    # "a ring", "ring a", "a ring", and no n-gram spans two captions.
    assert distinct_n(captions, 2) == pytest.approx([2 / 3, 1 / 2])


def test_distinct_n_of_captions_without_n_words_is_undefined() -> None:
    found = distinct_n([["star", "ring"], ["star", "a ring"]], 2)
    assert np.isnan(found[0])
    assert found[1] == 1


@pytest.mark.parametrize("scored", [None, 2])
def test_self_bleu_is_sacrebleu_of_each_caption_against_the_others(scored: int | None) -> None:
    captions = spoken(2, n_items=60, per_item=5)
    oracle = BLEU(tokenize="none", smooth_method="floor", effective_order=True)
    expected = [
        np.mean(
            [
                oracle.sentence_score(own[i], own[:i] + own[i + 1 :]).score / 100
                for i in range(scored or 5)
            ]
        )
        for own in captions
    ]
    assert np.ptp(expected) > 0.3
    assert self_bleu(captions, scored=scored) == pytest.approx(expected)


def test_self_bleu_of_copies_is_1_and_of_nothing_shared_0() -> None:
    captions = [
        ["a big red ring on dark ground"] * 3,
        ["Star.", "star", "star"],
        ["a red ring", "big blue star", "the dark ground"],
    ]
    found = self_bleu(captions)
    assert found is not None
    assert found[:2].tolist() == [1, 1]
    assert found[2] == 0
