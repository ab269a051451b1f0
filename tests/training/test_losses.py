from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmrobust.training.losses import (
    contrastive,
    divergence,
    positive_pair,
    squared_distance,
    targets,
)

PAIRED = torch.eye(4, dtype=torch.bool)
MANY = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 0, 1], [0, 1, 0, 1, 0]], dtype=torch.bool)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def softmax(row: list[float]) -> list[float]:
    total = math.fsum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def cross_entropies(rows: list[list[float]], positives: list[list[bool]]) -> list[float]:
    """Minus the mean log probability of each row's positives, written out."""
    values = []
    for row, positive in zip(rows, positives, strict=True):
        shares = softmax(row)
        right = [math.log(share) for share, is_one in zip(shares, positive, strict=True) if is_one]
        values.append(-math.fsum(right) / len(right))
    return values


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def test_contrastive_of_pairs_is_the_mean_of_two_cross_entropies() -> None:
    logits = drawn(4, 4)
    found = contrastive(logits, PAIRED)
    i2t = cross_entropies(logits.tolist(), PAIRED.tolist())
    t2i = cross_entropies(logits.T.tolist(), PAIRED.tolist())
    assert found.tolist() == pytest.approx([(a + b) / 2 for a, b in zip(i2t, t2i, strict=True)])


def test_contrastive_of_many_positives_is_the_mean_over_images_and_over_captions() -> None:
    logits = drawn(3, 5)
    expected = (
        mean(cross_entropies(logits.tolist(), MANY.tolist()))
        + mean(cross_entropies(logits.T.tolist(), MANY.T.tolist()))
    ) / 2
    assert float(contrastive(logits, MANY).mean()) == pytest.approx(expected)


def test_contrastive_of_one_pair_is_zero() -> None:
    assert float(contrastive(torch.tensor([[7.0]]), torch.tensor([[True]]))) == 0.0


def test_targets_are_distributions_over_positives() -> None:
    found = targets(MANY)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3))
    torch.testing.assert_close(targets(MANY.T).sum(dim=1), torch.ones(5))
    assert found[1].tolist() == [0, 0, 0.5, 0, 0.5]


def test_a_repeated_caption_changes_no_target_mass() -> None:
    """Two copies of a caption share what one had: image to text the loss grows by log 2."""
    logits = drawn(3, 3)
    paired = torch.eye(3, dtype=torch.bool)
    twice = torch.tensor([0, 0, 1, 1, 2, 2])
    grown = contrastive(logits[:, twice], paired[:, twice]).mean()
    expected = float(contrastive(logits, paired).mean()) + math.log(2) / 2
    assert float(grown) == pytest.approx(expected)


def test_positive_pair_is_minus_the_mean_similarity() -> None:
    logits = drawn(3, 5)
    expected = [-mean([logits[i, c].item() for c in range(5) if MANY[i, c]]) for i in range(3)]
    assert positive_pair(logits, MANY).tolist() == pytest.approx(expected)


def test_divergence_is_the_mean_over_images_and_over_captions() -> None:
    one, other = drawn(3, 5), drawn(3, 5, seed=1)

    def kl(p: list[float], q: list[float]) -> float:
        return math.fsum(a * math.log(a / b) for a, b in zip(softmax(p), softmax(q), strict=True))

    rows = [kl(p, q) for p, q in zip(one.tolist(), other.tolist(), strict=True)]
    columns = [kl(p, q) for p, q in zip(one.T.tolist(), other.T.tolist(), strict=True)]
    expected = (mean(rows) + mean(columns)) / 2
    assert float(divergence(one, other, MANY).mean()) == pytest.approx(expected)
    assert divergence(one, one, MANY).tolist() == pytest.approx([0.0] * 3, abs=1e-12)


def test_squared_distance_is_summed_over_dimensions() -> None:
    one, other = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[4.0, 6.0], [0.0, 0.5]])
    assert squared_distance(one, other).tolist() == [25.0, 0.25]
