"""Distribution gap: how far what was made is from the dataset's own captions or pictures.

Waseda et al., arXiv:2405.18770, ask that augmented pairs not shift the distribution; how they
measure it is not known. That the distances below are taken between a judge's embeddings, and
between which, is ours.

Two traps are avoided. What was made of an item resembles that item, and an estimate that takes
the two for independent is biased (to below 0, for copies): what was made of one half of the items
is compared with the originals of the other half, and never with its own. And the Frechet distance
of finite samples grows as they shrink: one caption or picture is drawn of each item, whatever the
number of augmentations, so that the floor, the same distance between the originals of both halves,
is of samples of the same size. Copies of the originals have the floor's gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from mmrobust.augment.diversity import words_of
from mmrobust.randomness import numpy_generator

Array = NDArray[np.float64]

BLOCKS = 5
"""Random halvings of the items, and draws, that a gap is the mean over."""

FEWEST_ITEMS = 4
"""Halves of at least two items: below, no covariance and no pair."""

_CHUNK_ROWS = 1024


def frechet_distance(x: Array, y: Array) -> float:
    """Squared Frechet (2-Wasserstein) distance between Gaussians fitted to two samples.

    Heusel et al. 2017, arXiv:1706.08500:
    |mean_x - mean_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)), C with n - 1 in the denominator.

    With C_x = A'A and C_y = B'B the last trace is the sum of the singular values of A B', of which
    the triangular factors of A and B suffice. No root of a matrix is taken, so that covariances
    without full rank lose no digits.

    Deviations:
        features: any vectors; the paper's come from an Inception network.

    Args:
        x: (M, D), M at least 2.
        y: (N, D), N at least 2.

    Returns:
        At least 0, but for rounding. Biased upward in small samples.
    """
    shift = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    a, b = _covariance_factor(x), _covariance_factor(y)
    shared = linalg.svdvals(a @ b.T).sum()
    return float(shift + (a**2).sum() + (b**2).sum() - 2 * shared)


def _covariance_factor(x: Array) -> Array:
    """A triangular R with R'R the covariance of the rows of x."""
    factor: Array = np.linalg.qr(x - x.mean(axis=0), mode="r") / np.sqrt(len(x) - 1)
    return factor


def polynomial_mmd2(x: Array, y: Array, *, chunk_rows: int = _CHUNK_ROWS) -> float:
    """Squared maximum mean discrepancy with the kernel k(x, y) = (x.y / D + 1)^3, unbiased.

    The kernel Inception distance of Binkowski et al. 2018, arXiv:1801.01401: mean of k over pairs
    of different rows of x, plus the same of y, minus twice the mean over pairs of a row of each.
    The kernel matrix exists `chunk_rows` rows at a time.

    Args:
        x: (M, D), M at least 2.
        y: (N, D), N at least 2.
        chunk_rows: bound on the rows of a piece; changes the result by rounding alone.

    Returns:
        Of any sign; its mean over independent samples of one distribution is 0.
    """
    between = _kernel_sum(x, y, chunk_rows) / (len(x) * len(y))
    return _mean_of_pairs(x, chunk_rows) + _mean_of_pairs(y, chunk_rows) - 2 * between


def _mean_of_pairs(x: Array, chunk_rows: int) -> float:
    same = (((x**2).sum(axis=1) / x.shape[1] + 1) ** 3).sum()
    return float((_kernel_sum(x, x, chunk_rows) - same) / (len(x) * (len(x) - 1)))


def _kernel_sum(x: Array, y: Array, chunk_rows: int) -> float:
    total = 0.0
    for start in range(0, len(x), chunk_rows):
        base = x[start : start + chunk_rows] @ y.T / x.shape[1] + 1
        total += float((base * base * base).sum())
    return total


def _mmd2_of_unit_vectors(x: Array, y: Array) -> float:
    """MMD of vectors scaled to norm sqrt(D), so that x.y / D is their cosine.

    The kernel is made for features of that size. Of unit vectors x.y / D is near 0, where the
    kernel is all but linear and sees only means.
    """
    scale = np.sqrt(x.shape[1])
    return polynomial_mmd2(scale * x, scale * y)


DISTANCES: Mapping[str, Callable[[Array, Array], float]] = {
    "frechet_distance": frechet_distance,
    "mmd2": _mmd2_of_unit_vectors,
}


@dataclass(frozen=True, eq=False)
class Pool:
    """Embeddings of which one is drawn of each item.

    Fields:
        vectors: (A, D) unit vectors.
        item: (A,) the item of each, ascending, from 0 and without gaps.
    """

    vectors: Array
    item: NDArray[np.int64]

    def draw(self, rng: np.random.Generator) -> Array:
        """One vector of each item, (R, D)."""
        _, first, count = np.unique(self.item, return_index=True, return_counts=True)
        return self.vectors[first + (rng.random(len(first)) * count).astype(np.int64)]


def distribution_gap(made: Pool, originals: Pool, *, seed: int) -> dict[str, float | None]:
    """Each of `DISTANCES` between what was made of half of the items and the others' originals.

    The mean over `BLOCKS` halvings and draws, each taken both ways round.

    Args:
        made: embeddings of what was made of R items.
        originals: embeddings of all their captions, or of their pictures.
        seed: of halvings and draws.

    Returns:
        By name; None for fewer than `FEWEST_ITEMS` items.
    """
    pairs = []
    for rng, one, other, was in _blocks(originals, seed):
        now = made.draw(rng)
        pairs += [(now[one], was[other]), (now[other], was[one])]
    return _mean_distances(pairs)


def gap_floor(originals: Pool, *, seed: int) -> dict[str, float | None]:
    """Each of `DISTANCES` between the originals of both halves, over the halvings of the gap."""
    return _mean_distances(
        [(was[one], was[other]) for _, one, other, was in _blocks(originals, seed)]
    )


Block = tuple[np.random.Generator, NDArray[np.int64], NDArray[np.int64], Array]


def _blocks(originals: Pool, seed: int) -> Iterator[Block]:
    """Per block a generator to go on with, both halves of the items, and an original of each."""
    n_items = int(originals.item[-1]) + 1
    if n_items < FEWEST_ITEMS:
        return
    for block in range(BLOCKS):
        rng = numpy_generator(seed, "gap", block)
        one, other = np.array_split(rng.permutation(n_items), 2)
        yield rng, one, other, originals.draw(rng)


def _mean_distances(pairs: Sequence[tuple[Array, Array]]) -> dict[str, float | None]:
    return {
        name: float(np.mean([distance(x, y) for x, y in pairs])) if pairs else None
        for name, distance in DISTANCES.items()
    }


def median_length_difference(made: Sequence[str], originals: Sequence[str]) -> float:
    """Median number of words of the made captions minus that of the originals."""
    lengths = [[len(words_of(caption)) for caption in side] for side in (made, originals)]
    return float(np.median(lengths[0]) - np.median(lengths[1]))
