"""Generators derived from a seed and the name of what they are for.

Two stages with different names draw independent streams, and a stage draws the same stream
whatever ran before it: no global state is read or set anywhere in the package.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derived_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed that depends on `seed` and on every name, in order."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """NumPy generator for the stage `names`."""
    return np.random.default_rng(derived_seed(seed, *names))


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """CPU torch generator for the stage `names` (CPU, so that a GPU draws the same numbers)."""
    import torch

    return torch.Generator().manual_seed(derived_seed(seed, *names))
