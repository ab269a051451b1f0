"""Whether a caption is true of an image, for the datasets that decide it exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mmrobust.data.prepare import build_dataset

Truth = Callable[[Sequence[str], Sequence[int]], NDArray[np.bool_]]
"""Captions (n,) and rows (n,) of a split's images -> whether each caption holds of its image."""


class DecidesTruth(Protocol):
    """A dataset of which `decides_truth` is set, as a literal: workflows read it unimported."""

    decides_truth: ClassVar[bool]

    def truth(self, split: str, *, seed: int) -> Truth:
        """What decides the truth of captions about the images of `split`."""

    def positives(self, split: str, captions: Sequence[str], *, seed: int) -> sp.csr_array:
        """Which captions are true of which images of `split`: bool (C, N)."""


def truth_of(dataset: Mapping[str, Any], split: str, *, data_seed: int) -> Truth | None:
    """What decides the truth of captions about a split of a study's dataset.

    Args:
        dataset: section `dataset` of the study, with its `name`.
        split: `train`, `dev` or `test`.
        data_seed: the study's `data_seed`, with which the dataset was prepared.

    Returns:
        The dataset's `Truth`; None if nothing decides truth, as of photographs.

    Raises:
        UserError: a bad section, or no such split.
    """
    built = _that_decides(dataset)
    return None if built is None else built.truth(split, seed=data_seed)


def positives_of(
    dataset: Mapping[str, Any], split: str, captions: Sequence[str], *, data_seed: int
) -> sp.csr_array | None:
    """Which captions are true of which images of a split, bool (C, N); None if nothing decides."""
    built = _that_decides(dataset)
    return None if built is None else built.positives(split, captions, seed=data_seed)


def _that_decides(dataset: Mapping[str, Any]) -> DecidesTruth | None:
    built = build_dataset(dataset)
    return cast(DecidesTruth, built) if getattr(built, "decides_truth", False) else None
