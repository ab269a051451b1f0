"""Random draws for a batch of items, each from a generator of its own.

What is drawn for an item depends on the item alone: not on which others share its batch, nor on
how large batches are. An attack on a part of the items is then the same as on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from mmrobust.randomness import torch_generator


class ItemNoise:
    """Draws for B items, one CPU generator each (so that a GPU draws the same numbers)."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self._generators = list(generators)

    @classmethod
    def of(cls, seed: int, *names: str | int, items: Iterable[int]) -> ItemNoise:
        """Generators of the stage `names`, one for each item, known by its number."""
        return cls([torch_generator(seed, *names, item) for item in items])

    def __len__(self) -> int:
        return len(self._generators)

    def take(self, rows: Iterable[int]) -> ItemNoise:
        """The generators of some items, in the order of `rows`; what they draw goes on."""
        return ItemNoise([self._generators[row] for row in rows])

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform draws in [0, 1) of the shape (B, ...), type and device of `like`."""
        return self._filled(like, torch.Tensor.uniform_)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal draws of the shape (B, ...), type and device of `like`."""
        return self._filled(like, torch.Tensor.normal_)

    def integers(self, high: int) -> Tensor:
        """One integer in [0, high) for each item: (B,) int64 on the CPU."""
        drawn = [torch.randint(high, (), generator=generator) for generator in self._generators]
        return torch.stack(drawn) if drawn else torch.empty(0, dtype=torch.int64)

    def _filled(self, like: Tensor, fill: Callable[..., Tensor]) -> Tensor:
        if len(like) != len(self):
            raise ValueError(f"{len(like)} items but {len(self)} generators")
        drawn = torch.empty(like.shape, dtype=like.dtype)
        for item, generator in zip(drawn, self._generators, strict=True):
            fill(item, generator=generator)
        return drawn.to(like.device)
