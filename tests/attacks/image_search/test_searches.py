"""What every image search owes to its callers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from mmrobust.attacks.image_search.apgd import AdaptiveAscent
from mmrobust.attacks.image_search.base import ImageSearch
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.image_search.input_diversity import InputDiversity
from mmrobust.attacks.image_search.square import RandomSquares
from mmrobust.attacks.image_search.trajectory_mixing import TrajectoryMixing
from mmrobust.attacks.noise import ItemNoise
from mmrobust.threat import ImageBudget

Objective = Callable[[Tensor], Tensor]
BUDGETS = [ImageBudget(eps=4 / 255), ImageBudget(norm="l2", eps=0.2)]
each_budget = pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget.norm)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def images_of(count: int = 3) -> Tensor:
    """Images with pixels all over [0, 1], its ends included."""
    return (rand(count, 3, 6, 6) * 1.4 - 0.2).clamp(0, 1)


def noise_of(*items: int) -> ItemNoise:
    return ItemNoise.of(0, "search", items=items)


def size(budget: ImageBudget, delta: Tensor) -> Tensor:
    flat = delta.double().flatten(1)
    return flat.abs().amax(dim=1) if budget.norm == "linf" else flat.norm(dim=1)


@each_budget
def test_stays_within_the_budget_and_the_pixel_range(
    search: ImageSearch, bumpy: Objective, budget: ImageBudget
) -> None:
    images = images_of()
    found = search(bumpy, images, start=None, budget=budget, noise=noise_of(0, 1, 2))
    for iterate in (found.images, found.previous):
        assert iterate.shape == images.shape
        assert bool((size(budget, iterate - images) <= budget.eps + 1e-6).all())
        assert float(iterate.min()) >= 0
        assert float(iterate.max()) <= 1
    assert bool((found.images != images).flatten(1).any(dim=1).all())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_radius_0_is_the_identity(search: ImageSearch, bumpy: Objective, norm: str) -> None:
    images = images_of()
    budget = ImageBudget(norm=norm, eps=0)  # type: ignore[arg-type]
    found = search(bumpy, images, start=None, budget=budget, noise=noise_of(0, 1, 2))
    assert torch.equal(found.images, images)
    assert torch.equal(found.previous, images)


@each_budget
def test_a_batch_is_its_items_one_by_one(
    search: ImageSearch, bumpy: Objective, budget: ImageBudget
) -> None:
    images = images_of()
    found = search(bumpy, images, start=None, budget=budget, noise=noise_of(5, 6, 7))
    for row in range(3):
        alone = search(
            bumpy,
            images[row : row + 1],
            start=None,
            budget=budget,
            noise=noise_of(5 + row),
        )
        torch.testing.assert_close(alone.images[0], found.images[row], atol=1e-6, rtol=0)
        torch.testing.assert_close(alone.previous[0], found.previous[row], atol=1e-6, rtol=0)


@each_budget
def test_the_same_noise_gives_the_same_images(
    search: ImageSearch, bumpy: Objective, budget: ImageBudget
) -> None:
    images = images_of()
    first, again = (
        search(bumpy, images, start=None, budget=budget, noise=noise_of(0, 1, 2)) for _ in "ab"
    )
    assert torch.equal(first.images, again.images)


@each_budget
def test_begins_at_the_start_it_is_given(
    search: ImageSearch, budget: ImageBudget, bumpy: Objective
) -> None:
    images = images_of()
    offset = 0.5 * budget.eps / images[0].numel() ** (0.5 if budget.norm == "l2" else 0)
    start = (images + offset).clamp(0, 1)
    seen: list[Tensor] = []

    def recording(shown: Tensor) -> Tensor:
        seen.append(shown.detach().clone())
        return bumpy(shown)

    if getattr(search, "diversity", None) is not None:
        search = GradientAscent(diversity=InputDiversity(probability=0))
    kept = start.clone()
    search(recording, images, start=start, budget=budget, noise=noise_of(0, 1, 2))
    assert torch.equal(seen[0], start)
    assert torch.equal(start, kept)


@each_budget
def test_gradients_reach_nothing_but_the_images(search: ImageSearch, budget: ImageBudget) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 4), nn.Dropout(0.5)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, start = images_of(), images_of()
    kept = images.clone()
    found = search(
        lambda x: model(x).square().sum(dim=1),
        images,
        start=start,
        budget=budget,
        noise=noise_of(0, 1, 2),
    )
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert images.grad is None
    assert start.grad is None
    assert torch.equal(images, kept)
    assert not found.images.requires_grad
    assert not found.previous.requires_grad


def test_an_objective_without_gradients_fails_loudly(search: ImageSearch) -> None:
    if isinstance(search, RandomSquares):
        with pytest.raises(AssertionError, match="gradients are off"):
            search(
                _wants_gradients, images_of(), start=None, budget=BUDGETS[0], noise=noise_of(*"abc")
            )
        return
    with pytest.raises(RuntimeError, match="does not require grad"):
        search(
            lambda x: x.detach().sum(dim=(1, 2, 3)),
            images_of(),
            start=None,
            budget=BUDGETS[0],
            noise=noise_of(0, 1, 2),
        )


def _wants_gradients(images: Tensor) -> Tensor:
    assert torch.is_grad_enabled(), "gradients are off"
    return images.sum(dim=(1, 2, 3))


LINEAR = {
    "ascent": GradientAscent(step_size=1 / 255, steps=10),
    "fgsm": GradientAscent(step_size=None, steps=1, random_start="none"),
    "one_sided": GradientAscent(step_size=1 / 255, steps=10, random_start="one_sided"),
    "momentum": GradientAscent(step_size=1 / 255, steps=10, momentum=0.9),
    "apgd": AdaptiveAscent(steps=20),
    "apgd_one_step": AdaptiveAscent(steps=1),
}


@pytest.mark.parametrize("search", LINEAR.values(), ids=LINEAR)
def test_linf_optimum_of_a_linear_objective(search: ImageSearch) -> None:
    # Over |d| <= eps and [0, 1], <w, x + d> is largest where each pixel goes as far as it may
    # along the sign of its weight.
    images, eps = images_of(), 4 / 255
    weight = torch.randn(3, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    found = search(
        lambda x: (x * weight).sum(dim=(1, 2, 3)),
        images,
        start=None,
        budget=ImageBudget(eps=eps),
        noise=noise_of(0, 1, 2),
    )
    best = torch.where(weight > 0, (images + eps).clamp(max=1), (images - eps).clamp(min=0))
    torch.testing.assert_close(found.images, best, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "search",
    [
        GradientAscent(step_size=0.1, steps=40),
        GradientAscent(step_size=None, steps=1, random_start="none"),
        AdaptiveAscent(steps=50),
    ],
    ids=["ascent", "fgsm", "apgd"],
)
def test_l2_optimum_of_a_linear_objective(search: ImageSearch) -> None:
    # Away from 0 and 1 the largest gain of <w, x + d> over ||d|| <= eps is eps * ||w||.
    images, eps = 0.3 + 0.4 * rand(3, 3, 6, 6), 0.1
    weight = torch.randn(3, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    found = search(
        lambda x: (x * weight).sum(dim=(1, 2, 3)),
        images,
        start=None,
        budget=ImageBudget(norm="l2", eps=eps),
        noise=noise_of(0, 1, 2),
    )
    gain = ((found.images - images).double() * weight).sum(dim=(1, 2, 3))
    best = eps * weight.double().flatten(1).norm(dim=1)
    torch.testing.assert_close(gain, best, rtol=1e-4, atol=0)
    assert bool((gain <= best * (1 + 1e-5)).all())


def test_configurations_are_read_and_unknown_keys_refused() -> None:
    read = TypeAdapter(GradientAscent).validate_python(
        {"step_size": "2/255", "diversity": {"probability": 1.0}, "scales": [0.5]}
    )
    expected = GradientAscent(
        step_size=2 / 255, diversity=InputDiversity(probability=1.0), scales=(0.5,)
    )
    assert read == expected
    for kind in (GradientAscent, TrajectoryMixing, AdaptiveAscent, RandomSquares, InputDiversity):
        assert TypeAdapter(kind).validate_python({}) == kind()
        with pytest.raises(ValidationError, match="alpha"):
            TypeAdapter(kind).validate_python({"alpha": 1})
    for kind, bad in (
        (GradientAscent, {"steps": 0}),
        (GradientAscent, {"random_start": "both"}),
        (AdaptiveAscent, {"restarts": 0}),
        (RandomSquares, {"p_init": 1.5}),
    ):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(bad)
