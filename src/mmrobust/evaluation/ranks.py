"""Rank of the best positive of every query, with ties and NaN counted against the model.

A collapsed model scores every item alike; ranking by index would then grant it hits by luck
(the plain reversed argsort of released retrieval code does). Here whatever a score leaves open
is decided against the model.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mmrobust.errors import UserError

Positives = NDArray[np.bool_] | sp.csr_array[np.bool_]
"""Which items of the gallery answer which query, (Q, G)."""


def best_positive_ranks(scores: NDArray[np.float32], positives: Positives) -> NDArray[np.int32]:
    """1 + the number of wrong items that score at least as high as the query's best positive.

    Other positives above the best one can't exist, and those tied with it don't push it down.
    A NaN is read in the way that is worst for the model: a wrong item with it stands above
    everything, a positive with it is never the best. A query whose scores are all NaN gets the
    worst rank, 1 + its number of wrong items.

    Args:
        scores: (Q, G), higher is nearer.
        positives: (Q, G), dense or sparse; every query needs at least one.

    Returns:
        (Q,) int32 in [1, G].

    Raises:
        UserError: if a query has no positive.
    """
    truth: sp.csr_array[np.bool_, tuple[int, int]] = sp.csr_array(positives)
    if scores.shape != truth.shape:
        raise ValueError(f"scores are {scores.shape} but positives are {truth.shape}")
    if truth.nnz != truth.count_nonzero() or not truth.has_canonical_format:
        truth = sp.csr_array(truth.toarray())
    per_query = np.diff(truth.indptr)
    if len(per_query) == 0:
        return np.empty(0, dtype=np.int32)
    if per_query.min() == 0:
        lonely = int(per_query.argmin())
        raise UserError(f"query {lonely} of the gallery has no positive: its rank is undefined")
    query = np.repeat(np.arange(len(per_query)), per_query)
    right = scores[query, truth.indices]
    starts = truth.indptr[:-1]
    best = np.maximum.reduceat(np.where(np.isnan(right), -np.inf, right), starts)
    # "not below" instead of "at least": a NaN is not below anything and so counts as above.
    not_below = scores.shape[1] - np.count_nonzero(scores < best[:, None], axis=1)
    right_not_below = np.add.reduceat((~(right < best[query])).astype(np.int64), starts)
    ranks: NDArray[np.int32] = (1 + not_below - right_not_below).astype(np.int32)
    return ranks
