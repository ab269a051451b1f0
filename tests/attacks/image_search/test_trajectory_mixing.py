from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmrobust.attacks.image_search.trajectory_mixing import TrajectoryMixing, _percentages
from mmrobust.attacks.noise import ItemNoise
from mmrobust.threat import ImageBudget

Objective = Callable[[Tensor], Tensor]
EPS, STEP = 4 / 255, 1 / 255
SCALES = (0.5, 0.75, 1.25, 1.5)


def images_of(count: int) -> Tensor:
    return torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def noise_of(*items: int) -> ItemNoise:
    return ItemNoise.of(0, "mixing", items=items)


class Oracle:
    """DRA's procedure for one image (1, 3, H, W), step by step as it was released."""

    def __init__(self, objective: Objective, image: Tensor, item: int) -> None:
        self.objective, self.image, self.noise = objective, image, noise_of(item)

    def gradient(self, at: Tensor, scales: tuple[float, ...]) -> Tensor:
        at = at.clone().requires_grad_()
        shown = [at]
        for scale in scales:
            noisy = at + 0.05 * self.noise.normal(at)
            small = F.interpolate(noisy, size=(int(6 * scale),) * 2, mode="bicubic").clamp(0, 1)
            shown.append(F.interpolate(small, size=(6, 6), mode="bicubic"))
        total = sum(self.objective(copy).sum() for copy in shown)
        return torch.autograd.grad(total, at)[0]

    def triple(self) -> tuple[float, float, float]:
        first = second = 100
        while first + second > 99:
            first = int(self.noise.integers(100)) + 1
            if 100 - first > 1:
                second = int(self.noise.integers(100 - first)) + 1
            else:
                first, second = 98, 1
        return first / 100, second / 100, (100 - first - second) / 100

    def run(self, steps: int, samples: int) -> tuple[Tensor, Tensor]:
        uniform = self.noise.uniform(self.image)
        current = self.clip(self.image + EPS * (2 * uniform - 1))
        previous = current
        for step in range(steps):
            at, highest = current, -float("inf")
            for _ in range(samples if step else 0):
                a, b, c = self.triple()
                mixture = a * current + b * self.image + c * previous
                trial = current + STEP * self.gradient(mixture, ()).sign()
                if float(self.objective(trial)) > highest:
                    at, highest = mixture, float(self.objective(trial))
            moved = self.clip(current + STEP * self.gradient(at, SCALES).sign())
            previous, current = current, moved
        return current, previous

    def clip(self, image: Tensor) -> Tensor:
        low, high = self.image - EPS, self.image + EPS
        return torch.minimum(torch.maximum(image, low), high).clamp(0, 1)


@pytest.mark.parametrize(("steps", "samples"), [(1, 5), (2, 1), (6, 5)])
def test_agrees_with_an_oracle_that_takes_one_image_at_a_time(
    bumpy: Objective, steps: int, samples: int
) -> None:
    images = images_of(4)
    search = TrajectoryMixing(step_size=STEP, steps=steps, samples=samples)
    found = search(
        bumpy, images, start=None, budget=ImageBudget(eps=EPS), noise=noise_of(0, 1, 2, 3)
    )
    for row in range(4):
        current, previous = Oracle(bumpy, images[row : row + 1], row).run(steps, samples)
        torch.testing.assert_close(found.images[row], current[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(found.previous[row], previous[0], atol=1e-6, rtol=0)


def test_percentages_are_positive_sum_to_100_and_follow_the_released_draw() -> None:
    noise = noise_of(0)
    drawn = [_percentages(noise) for _ in range(4000)]
    assert all(min(triple) >= 1 and sum(triple) == 100 for triple in drawn)
    # The first is near uniform: of the draws 1..100, 50 and below are seldom refused.
    low = sum(first <= 50 for first, _, _ in drawn) / len(drawn)
    refused = sum(1 / (100 - first) for first in range(1, 99))
    kept_low = 50 - sum(1 / (100 - first) for first in range(1, 51))
    assert low == pytest.approx(kept_low / (100 - refused), abs=0.03)
    # Given a first of 40..60, the second is uniform over what the first leaves.
    shares = [second / (99 - first) for first, second, _ in drawn if 40 <= first <= 60]
    assert sum(shares) / len(shares) == pytest.approx(0.5, abs=0.04)


def test_a_given_start_is_the_iterate_before_the_only_step(bumpy: Objective) -> None:
    images = images_of(2)
    start = (images + EPS / 2).clamp(0, 1)
    found = TrajectoryMixing(steps=1)(
        bumpy, images, start=start, budget=ImageBudget(eps=EPS), noise=noise_of(0, 1)
    )
    assert torch.equal(found.previous, start)
