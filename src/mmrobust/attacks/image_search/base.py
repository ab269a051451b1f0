"""What an image search is: an objective and images in, images within a budget out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from mmrobust.attacks.noise import ItemNoise
from mmrobust.threat import ImageBudget

Objective = Callable[[Tensor], Tensor]
"""Images (B, 3, H, W) in [0, 1] to the value (B,) that each one maximises, on its own."""


@dataclass(frozen=True)
class Found:
    """Where a search ended.

    Fields:
        images: (B, 3, H, W) in [0, 1], within the budget up to rounding.
        previous: (B, 3, H, W), the iterate before; `images` where there is no trajectory.
    """

    images: Tensor
    previous: Tensor


class ImageSearch(Protocol):
    """Looks for images within a budget that raise an objective."""

    @property
    def uses_gradients(self) -> bool:
        """Whether the objective's gradients are asked for, or its values alone."""
        ...

    def __call__(
        self,
        objective: Objective,
        images: Tensor,
        *,
        start: Tensor | None,
        budget: ImageBudget,
        noise: ItemNoise,
    ) -> Found:
        """Search around `images` (B, 3, H, W).

        Args:
            objective: what is maximised.
            images: the originals, in [0, 1].
            start: where to begin, within the budget; None for the search's own start.
            budget: how far an image may move.
            noise: draws of the B items.
        """
        ...
