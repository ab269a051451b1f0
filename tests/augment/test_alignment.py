from __future__ import annotations

import numpy as np
import pytest

from mmrobust.augment.alignment import alignment, true_share


def test_alignment_is_the_mean_cosine_with_the_counterpart() -> None:
    right, up = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    slanted = np.array([0.6, 0.8])
    counterpart = np.stack([right, right, up])
    made = np.stack([[right, up, -up], [slanted, up, slanted]])
    assert alignment(made, counterpart) == pytest.approx([0.8, 0.0, -0.1])
    assert alignment(made[:1], counterpart) == pytest.approx([1.0, 0.0, -1.0])


def test_true_share_is_counted_within_an_item() -> None:
    true = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]])
    found = true_share(true)
    assert found is not None
    assert found.tolist() == [0.75, 0.25, 0.0]


def test_share_of_what_is_partly_unknown_is_undefined() -> None:
    assert true_share(np.array([[1, 1], [1, -1]])) is None
