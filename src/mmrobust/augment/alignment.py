"""Alignment: does what was made belong to its item, as a judge sees it and as it is.

Waseda et al., arXiv:2405.18770, ask that augmented pairs be aligned; how they measure it is not
known. The formulas are ours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmrobust.data.augmented import UNKNOWN

Array = NDArray[np.float64]


def alignment(made: Array, counterpart: Array) -> Array:
    """Mean over an item's augmentations k of cos(made_k, counterpart).

    Of captions the counterpart is the item's picture, of pictures the item's first caption, both
    embedded by a frozen judge: a dual encoder other than any under test. With the original in
    the place of what was made it is the alignment of the original pair, which a judge of its own
    scale is to be read against.

    Args:
        made: (n, R, D) unit vectors.
        counterpart: (R, D) unit vectors.

    Returns:
        (R,) in [-1, 1].
    """
    cosines: Array = np.einsum("nrd,rd->r", made, counterpart) / len(made)
    return cosines


def true_share(true: NDArray[np.integer]) -> Array | None:
    """Share of an item's augmentations that are true of it, exactly.

    Args:
        true: (n, R), each 1, 0 or `UNKNOWN`.

    Returns:
        (R,) in [0, 1]; None if any is unknown, since a share of the others is not exact.
    """
    if (true == UNKNOWN).any():
        return None
    share: Array = true.mean(axis=0, dtype=np.float64)
    return share
