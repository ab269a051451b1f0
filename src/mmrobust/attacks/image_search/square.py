"""Square Attack: random search by the objective's value alone, without gradients."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from mmrobust.attacks.image_search.base import Found, Objective
from mmrobust.attacks.image_search.square_proposals import L2Squares, LinfSquares
from mmrobust.attacks.noise import ItemNoise
from mmrobust.quantities import Fraction, PositiveInt
from mmrobust.threat import ImageBudget

_HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries


@dataclass(frozen=True, kw_only=True)
class RandomSquares:
    """Square Attack, Andriushchenko et al. 2020, arXiv:1912.00049, for any objective.

    A random square window of the perturbation is changed; an item keeps the change if its
    objective rises. Windows shrink as queries are spent.

    Fields:
        queries: how often the objective is evaluated, the starting point included.
        p_init: share of the pixels that the first window covers (released AutoAttack: 0.8).

    Deviations:
        Items go on for all queries: there is no notion of success to stop at.
        Windows may touch the last row and column, as in the paper; the released code's can't.
        A window that changes nothing is not drawn anew.
        Every item has windows of its own, as in the paper; AutoAttack's batches share them.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    uses_gradients: ClassVar[bool] = False

    queries: PositiveInt = 1000
    p_init: Fraction = 0.8

    def __call__(
        self,
        objective: Objective,
        images: Tensor,
        *,
        start: Tensor | None,
        budget: ImageBudget,
        noise: ItemNoise,
    ) -> Found:
        """The best points seen; with `start` the search goes on from there."""
        squares = LinfSquares(budget) if budget.norm == "linf" else L2Squares(budget)
        with torch.no_grad():
            best = squares.start(images, noise) if start is None else start
            value = objective(best)
            for done in range(self.queries - 1):
                side = window_side(self.p_init, done, self.queries, images)
                trial = squares.trial(best, images, side=side, noise=noise)
                reached = objective(trial)
                rises = reached > value
                best = torch.where(rises.view(-1, 1, 1, 1), trial, best)
                value = torch.where(rises, reached, value)
        return Found(images=best, previous=best)


def window_side(p_init: float, done: int, queries: int, images: Tensor) -> int:
    """Side of the window in pixels: that of a square of the scheduled share of the pixels.

    The schedule is the paper's for 10,000 queries, stretched to `queries` as in the released code.
    """
    height, width = images.shape[-2:]
    halvings = bisect_left(_HALVED_AFTER, int(done / queries * 10_000))
    side = round(math.sqrt(p_init / 2**halvings * height * width))
    return min(max(side, 1), height, width)
