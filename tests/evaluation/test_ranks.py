from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from mmrobust.errors import UserError
from mmrobust.evaluation.ranks import best_positive_ranks


def slow_rank(scores: np.ndarray, positives: np.ndarray) -> int:
    best = -math.inf
    for score, right in zip(scores, positives, strict=True):
        if right and not math.isnan(score):
            best = max(best, score)
    rank = 1
    for score, right in zip(scores, positives, strict=True):
        if not right and (math.isnan(score) or score >= best):
            rank += 1
    return rank


@st.composite
def galleries(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = (draw(st.integers(1, 6)), draw(st.integers(1, 9)))
    # Few distinct values: ties are the rule.
    value = st.sampled_from([-math.inf, -1.0, -0.5, 0.0, 0.5, 1.0, math.nan])
    scores = draw(hnp.arrays(np.float32, shape, elements=value))
    positives = draw(hnp.arrays(np.bool_, shape))
    first = draw(hnp.arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))
    positives[np.arange(shape[0]), first] = True
    return scores, positives


@given(galleries())
@settings(max_examples=300, deadline=None)
def test_agrees_with_a_slow_loop(gallery: tuple[np.ndarray, np.ndarray]) -> None:
    scores, positives = gallery
    expected = [slow_rank(row, right) for row, right in zip(scores, positives, strict=True)]
    for given_as in (positives, sp.csr_array(positives)):
        ranks = best_positive_ranks(scores, given_as)
        assert ranks.dtype == np.int32
        assert ranks.tolist() == expected
    assert best_positive_ranks(np.asfortranarray(scores), positives).tolist() == expected


def test_a_collapsed_model_gets_the_worst_rank() -> None:
    positives = np.eye(4, dtype=bool)
    for constant in (0.3, np.nan):
        scores = np.full((4, 4), constant, dtype=np.float32)
        assert best_positive_ranks(scores, positives).tolist() == [4] * 4


def test_other_positives_above_do_not_push_down() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.1]], dtype=np.float32)
    assert best_positive_ranks(scores, np.array([[True, False, True, False]])).tolist() == [1]
    assert best_positive_ranks(scores, np.array([[False, False, True, True]])).tolist() == [3]


def test_stored_false_and_repeated_entries_are_read_as_what_they_say() -> None:
    scores = np.array([[0.1, 0.5, 0.9]], dtype=np.float32)
    stored_false = sp.csr_array((np.array([True, False]), ([0, 0], [0, 2])), shape=(1, 3))
    assert best_positive_ranks(scores, stored_false).tolist() == [3]
    twice = sp.csr_array((np.array([True, True]), np.array([2, 2]), np.array([0, 2])), shape=(1, 3))
    assert best_positive_ranks(scores, twice).tolist() == [1]


def test_a_query_without_a_positive_is_refused() -> None:
    with pytest.raises(UserError, match="query 1 of the gallery has no positive"):
        best_positive_ranks(np.zeros((2, 2), np.float32), np.array([[True, False], [False, False]]))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="positives are"):
        best_positive_ranks(np.zeros((2, 3), np.float32), np.ones((3, 2), dtype=bool))
