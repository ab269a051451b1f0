from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmrobust.attacks.image_search.apgd import AdaptiveAscent, checkpoints
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.noise import ItemNoise
from mmrobust.threat import ImageBudget

Objective = Callable[[Tensor], Tensor]
LINF, L2 = ImageBudget(eps=8 / 255), ImageBudget(norm="l2", eps=0.4)
each_budget = pytest.mark.parametrize("budget", [LINF, L2], ids=["linf", "l2"])


def images_of(count: int) -> Tensor:
    return torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def noise_of(*items: int) -> ItemNoise:
    return ItemNoise.of(0, "apgd", items=items)


def test_checkpoints_are_the_papers() -> None:
    # 0.22, then steps of 0.19, 0.16, 0.13, 0.10, 0.07 and 0.06 from there on.
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert sorted(checkpoints(10)) == [3, 5, 6, 7, 8, 9, 10]
    assert checkpoints(1) == {1}


@each_budget
def test_agrees_with_the_papers_algorithm_image_by_image(
    bumpy: Objective, budget: ImageBudget
) -> None:
    images = images_of(4).double()  # so that rounding can't send the two apart
    search = AdaptiveAscent(steps=30, restarts=2)
    found = search(bumpy, images, start=None, budget=budget, noise=noise_of(0, 1, 2, 3))
    for row in range(4):
        noise, image = noise_of(row), images[row : row + 1]
        runs = [slow_run(bumpy, start_of(image, budget, noise), image, budget, 30) for _ in "ab"]
        best, _ = max(runs, key=lambda run: run[1])
        torch.testing.assert_close(found.images[row], best[0], atol=1e-8, rtol=0)


class Scripted:
    """An objective whose values and gradients are written down, whatever it is shown."""

    def __init__(self, values: Tensor, fields: Tensor) -> None:
        self.values, self.fields, self.calls = values, fields, 0
        self.shown: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.shown.append(images.detach().clone())
        slope = ((images - images.detach()) * self.fields[self.calls]).sum(dim=(1, 2, 3))
        self.calls += 1
        return self.values[self.calls - 1] + slope


@each_budget
def test_halves_and_goes_back_as_the_papers_conditions_say(budget: ImageBudget) -> None:
    generator = torch.Generator().manual_seed(4)
    # Per item: rises at random with growing probability, so that both outcomes occur; and one
    # item that falls after the first checkpoint and rises again, but not to its best.
    rises = torch.rand(101, 6, generator=generator) < torch.linspace(0.6, 0.95, 6)
    values = torch.where(rises, 1.0, -1.5).cumsum(dim=0).double()
    values[:, 5] = torch.arange(101)
    values[23:, 5] -= 23
    fields = torch.randn(101, 6, 3, 6, 6, generator=generator).double()
    images = images_of(6).double()
    script = Scripted(values, fields)
    found = AdaptiveAscent(steps=100)(
        script, images, start=images, budget=budget, noise=noise_of(*range(6))
    )
    for row in range(6):
        alone = Scripted(values[:, row : row + 1], fields[:, row : row + 1])
        image = images[row : row + 1]
        best, _ = slow_run(alone, image, image, budget, 100)
        for step, shown in enumerate(alone.shown):
            torch.testing.assert_close(script.shown[step][row], shown[0], atol=1e-9, rtol=0)
        torch.testing.assert_close(found.images[row], best[0], atol=1e-9, rtol=0)


def start_of(image: Tensor, budget: ImageBudget, noise: ItemNoise) -> Tensor:
    if budget.norm == "linf":
        return inside(image + budget.eps * (2 * noise.uniform(image) - 1), image, budget)
    radius = budget.eps * float(noise.uniform(image.new_empty(1, 1))) ** (1 / image.numel())
    outwards = noise.normal(image)
    return inside(image + radius * outwards / outwards.norm(), image, budget)


def inside(image: Tensor, original: Tensor, budget: ImageBudget) -> Tensor:
    delta = image - original
    if budget.norm == "linf":
        delta = delta.clamp(-budget.eps, budget.eps)
    else:
        delta = delta * min(1.0, budget.eps / max(float(delta.norm()), 1e-12))
    return (original + delta).clamp(0, 1)


def slow_run(
    objective: Objective, start: Tensor, original: Tensor, budget: ImageBudget, steps: int
) -> tuple[Tensor, float]:
    """Algorithm 1 of Croce and Hein for one image: best point and its value."""

    def look(x: Tensor) -> tuple[Tensor, float, Tensor]:
        leaf = x.clone().requires_grad_()
        value = objective(leaf)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        uphill = gradient.sign() if budget.norm == "linf" else gradient / gradient.norm()
        return x, value.item(), uphill

    share, gap, checks = 22, 22, []
    while share <= 100:
        checks.append(-(-share * steps // 100))
        gap = max(gap - 3, 6)
        share += gap
    here = best = look(start)
    before = start
    eta, etas, bests = 2 * budget.eps, {0: 2 * budget.eps}, {0: here[1]}
    last, rises = 0, 0
    for k in range(1, steps + 1):
        x, value, uphill = here
        new = inside(x + eta * uphill, original, budget)
        if k > 1:
            new = inside(x + 0.75 * (new - x) + 0.25 * (x - before), original, budget)
        before, here = x, look(new)
        rises += here[1] > value
        best = here if here[1] > best[1] else best
        if k in checks:
            still = etas[last] == eta and bests[last] == best[1]
            etas[k], bests[k] = eta, best[1]
            if rises < 0.75 * (k - last) or still:
                eta, here = eta / 2, best
            last, rises = k, 0
    return best[0], best[1]


@each_budget
def test_returns_the_best_point_that_it_saw(bumpy: Objective, budget: ImageBudget) -> None:
    images = images_of(3)
    seen: list[Tensor] = []

    def recording(shown: Tensor) -> Tensor:
        values = bumpy(shown)
        seen.append(values.detach())
        return values

    search = AdaptiveAscent(steps=12, restarts=3)
    found = search(recording, images, start=None, budget=budget, noise=noise_of(0, 1, 2))
    assert len(seen) == 3 * 13
    assert torch.equal(bumpy(found.images), torch.stack(seen).amax(dim=0))
    assert torch.equal(found.previous, found.images)


@each_budget
def test_is_no_worse_than_plain_ascent_of_as_many_steps(
    bumpy: Objective, budget: ImageBudget
) -> None:
    images = images_of(24)
    start = images.clone()
    reached = {}
    for name, search in {
        "apgd": AdaptiveAscent(steps=40),
        "plain": GradientAscent(step_size=budget.eps / 4, steps=40),
    }.items():
        found = search(bumpy, images, start=start, budget=budget, noise=noise_of(*range(24)))
        reached[name] = bumpy(found.images)
    assert bool((reached["apgd"] >= reached["plain"] - 1e-4).float().mean() >= 0.75)
    assert float(reached["apgd"].mean()) > float(reached["plain"].mean())


def test_more_restarts_never_find_less(bumpy: Objective) -> None:
    images = images_of(6)
    reached = [
        bumpy(
            AdaptiveAscent(steps=8, restarts=restarts)(
                bumpy, images, start=None, budget=LINF, noise=noise_of(*range(6))
            ).images
        )
        for restarts in (1, 2, 5)
    ]
    assert bool((reached[1] >= reached[0]).all())
    assert bool((reached[2] >= reached[1]).all())
    assert bool((reached[2] > reached[0]).any())


def test_only_the_first_run_begins_at_the_start(bumpy: Objective) -> None:
    images = images_of(2)
    seen: list[Tensor] = []

    def recording(shown: Tensor) -> Tensor:
        seen.append(shown.detach().clone())
        return bumpy(shown)

    AdaptiveAscent(steps=2, restarts=2)(
        recording, images, start=images, budget=LINF, noise=noise_of(0, 1)
    )
    assert torch.equal(seen[0], images)
    assert not torch.equal(seen[3], images)
