"""Auto-PGD: gradient ascent whose step size adapts to how the objective moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from mmrobust.attacks.image_search.balls import Ball, ball_of
from mmrobust.attacks.image_search.base import Found, Objective
from mmrobust.attacks.noise import ItemNoise
from mmrobust.quantities import PositiveInt
from mmrobust.threat import ImageBudget

_STEP_WEIGHT = 0.75  # alpha: share of the new step against the last move
_RISING_SHARE = 0.75  # rho: share of steps that must raise the objective to keep the step size


@dataclass(frozen=True, kw_only=True)
class AdaptiveAscent:
    """Auto-PGD, Croce and Hein 2020, arXiv:2003.01690, section 3, for any objective.

    Steps of 2 eps with momentum; at checkpoints, items whose objective rose too seldom or whose
    best value stands still go back to their best point and on with half the step.

    Fields:
        steps: number of steps of a run (paper: 100 in AutoAttack).
        restarts: number of runs, each from a new random point; the best point is kept.

    Deviations:
        The random start is uniform in the ball; the released code scales it to the boundary.
        Halving follows the paper where the released code differs: every rise is counted against
        the iterate it left, and the best value is checked at the first checkpoint too.
        Items go on for all steps: there is no notion of success to stop at.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    uses_gradients: ClassVar[bool] = True

    steps: PositiveInt = 50
    restarts: PositiveInt = 1

    def __call__(
        self,
        objective: Objective,
        images: Tensor,
        *,
        start: Tensor | None,
        budget: ImageBudget,
        noise: ItemNoise,
    ) -> Found:
        """The best points seen, item by item; the first run begins at `start` if given."""
        ball = ball_of(budget)
        best = self._run(
            objective, ball.random_start(images, noise) if start is None else start, images, ball
        )
        for _ in range(self.restarts - 1):
            found = self._run(objective, ball.random_start(images, noise), images, ball)
            best = best.replaced(found.values > best.values, found)
        return Found(images=best.images, previous=best.images)

    def _run(self, objective: Objective, start: Tensor, images: Tensor, ball: Ball) -> _Points:
        """Best points of one run, algorithm 1 of the paper for all items at once."""
        here = best = _Points.at(start, objective)
        before = here.images
        step_size = images.new_full((len(images), 1, 1, 1), 2 * ball.eps)
        rises = torch.zeros_like(here.values)
        best_then, halved = best.values, torch.zeros_like(here.values, dtype=torch.bool)
        checks, last = checkpoints(self.steps), 0
        for done in range(1, self.steps + 1):
            moved = ball.project(here.images + step_size * ball.direction(here.gradients), images)
            if done > 1:
                turned = _STEP_WEIGHT * (moved - here.images)
                turned = turned + (1 - _STEP_WEIGHT) * (here.images - before)
                moved = ball.project(here.images + turned, images)
            before, there = here.images, _Points.at(moved, objective)
            rises = rises + (there.values > here.values)
            here = there
            best = best.replaced(here.values > best.values, here)
            if done in checks:
                stands_still = ~halved & (best.values <= best_then)
                halved = (rises < _RISING_SHARE * (done - last)) | stands_still
                step_size = torch.where(halved.view(-1, 1, 1, 1), step_size / 2, step_size)
                here = here.replaced(halved, best)
                best_then, rises, last = best.values, torch.zeros_like(rises), done
        return best


@dataclass(frozen=True)
class _Points:
    """Images (B, 3, H, W), the objective (B,) and its gradients (B, 3, H, W) there."""

    images: Tensor
    values: Tensor
    gradients: Tensor

    @classmethod
    def at(cls, images: Tensor, objective: Objective) -> _Points:
        leaf = images.detach().requires_grad_()
        values = objective(leaf)
        (gradients,) = torch.autograd.grad(values.sum(), leaf)
        return cls(leaf.detach(), values.detach(), gradients)

    def replaced(self, rows: Tensor, others: _Points) -> _Points:
        """These points, but the others where `rows` (B,) holds."""
        blocks = rows.view(-1, 1, 1, 1)
        return _Points(
            torch.where(blocks, others.images, self.images),
            torch.where(rows, others.values, self.values),
            torch.where(blocks, others.gradients, self.gradients),
        )


def checkpoints(steps: int) -> set[int]:
    """Numbers of steps after which the step size is looked at, section 3.1 of the paper."""
    percent = [0, 22]  # whole percents, so that rounding up is exact
    while percent[-1] < 100:
        percent.append(percent[-1] + max(percent[-1] - percent[-2] - 3, 6))
    return {-(-share * steps // 100) for share in percent[1:] if share <= 100}
