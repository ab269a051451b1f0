from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.image_search.input_diversity import InputDiversity
from mmrobust.attacks.image_search.rescaling import multi_scale_gradient, rescaled
from mmrobust.attacks.noise import ItemNoise
from mmrobust.threat import ImageBudget

Objective = Callable[[Tensor], Tensor]
EPS = 4 / 255
LINF, L2 = ImageBudget(eps=EPS), ImageBudget(norm="l2", eps=0.2)


def images_of(count: int = 2, *, side: int = 6, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def noise_of(*items: int) -> ItemNoise:
    return ItemNoise.of(0, "ascent", items=items)


def gradient_of(objective: Objective, image: Tensor) -> Tensor:
    image = image.clone().requires_grad_()
    return torch.autograd.grad(objective(image[None]).sum(), image)[0]


def clipped(image: Tensor, original: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(image, original - EPS), original + EPS).clamp(0, 1)


def cubic(images: Tensor) -> Tensor:
    return images.pow(3).sum(dim=(1, 2, 3))


@pytest.mark.parametrize("momentum", [0.0, 0.7, 1.0])
def test_momentum_is_mi_fgsm_image_by_image(bumpy: Objective, momentum: float) -> None:
    images = images_of(3)
    search = GradientAscent(step_size=1 / 255, steps=6, momentum=momentum, random_start="none")
    found = search(bumpy, images, start=None, budget=LINF, noise=noise_of(0, 1, 2))
    for row, original in enumerate(images):
        current, velocity, previous = original, torch.zeros_like(original), original
        for _ in range(6):
            gradient = gradient_of(bumpy, current)
            velocity = momentum * velocity + gradient / gradient.abs().sum()
            previous = current
            current = clipped(current + velocity.sign() / 255, original)
        torch.testing.assert_close(found.images[row], current, atol=1e-6, rtol=0)
        torch.testing.assert_close(found.previous[row], previous, atol=1e-6, rtol=0)


def test_momentum_under_l2_follows_the_velocity_over_its_norm(bumpy: Objective) -> None:
    images = 0.3 + 0.4 * images_of()
    search = GradientAscent(step_size=0.05, steps=5, momentum=0.8, random_start="none")
    found = search(bumpy, images, start=None, budget=L2, noise=noise_of(0, 1))
    for row, original in enumerate(images):
        current, velocity = original, torch.zeros_like(original)
        for _ in range(5):
            gradient = gradient_of(bumpy, current)
            velocity = 0.8 * velocity + gradient / gradient.abs().sum()
            delta = current + 0.05 * velocity / velocity.norm() - original
            current = original + delta * min(1.0, L2.eps / float(delta.norm()))
        torch.testing.assert_close(found.images[row], current, atol=1e-6, rtol=0)


def test_diversity_is_what_the_objective_is_shown_image_by_image(bumpy: Objective) -> None:
    images = images_of(4)
    search = GradientAscent(
        step_size=1 / 255,
        steps=5,
        random_start="none",
        diversity=InputDiversity(probability=0.7, resize_rate=0.5),
    )
    found = search(bumpy, images, start=None, budget=LINF, noise=noise_of(0, 1, 2, 3))
    for row, original in enumerate(images):
        noise, current = noise_of(row), original
        for _ in range(5):
            draws = noise.uniform(torch.empty(1, 4))[0].tolist()
            gradient = gradient_of(lambda x, d=draws: bumpy(shrunk(x, 0.7, 0.5, *d)), current)
            current = clipped(current + gradient.sign() / 255, original)
        torch.testing.assert_close(found.images[row], current, atol=1e-6, rtol=0)


def shrunk(image: Tensor, probability: float, rate: float, apply: float, *draws: float) -> Tensor:
    """One image (1, 3, H, H), shrunk and pasted on black."""
    if apply >= probability:
        return image
    side = image.shape[-1]
    sides = range(int(side * rate), side + 1)
    small_side = sides[int(draws[0] * len(sides))]
    free = side - small_side + 1
    top, left = int(draws[1] * free), int(draws[2] * free)
    small = F.interpolate(image, size=(small_side, small_side), mode="bilinear")
    pasted = torch.zeros_like(image)
    pasted[..., top : top + small_side, left : left + small_side] = small
    return pasted


def test_diversity_shrinks_its_share_of_the_images_to_all_sides_and_places() -> None:
    images = torch.ones(600, 3, 8, 12)
    shown = InputDiversity(probability=0.4, resize_rate=0.75)(
        images, ItemNoise.of(1, items=range(600))
    )
    filled = shown[:, 0] > 0
    heights = filled.any(dim=2).sum(dim=1)
    widths = filled.any(dim=1).sum(dim=1)
    assert set(heights.tolist()) == {6, 7, 8}
    assert torch.equal(widths, torch.tensor([{6: 9, 7: 10, 8: 12}[h] for h in heights.tolist()]))
    # A share of 0.4 is shrunk, of which a third to the full height: 0.4 * 2 / 3 of all.
    assert float((heights < 8).double().mean()) == pytest.approx(0.4 * 2 / 3, abs=0.06)
    six = filled[heights == 6]
    assert set(six.any(dim=2).double().argmax(dim=1).tolist()) == {0, 1, 2}
    assert set(six.any(dim=1).double().argmax(dim=1).tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("diversity", "same"),
    [(InputDiversity(probability=0), True), (InputDiversity(probability=1, resize_rate=1), True)],
)
def test_diversity_without_effect_is_the_identity(diversity: InputDiversity, same: bool) -> None:
    images = images_of()
    assert torch.equal(diversity(images, noise_of(0, 1)), images) is same


def first_shown(search: GradientAscent, images: Tensor, noise: ItemNoise) -> Tensor:
    seen: list[Tensor] = []

    def recording(shown: Tensor) -> Tensor:
        seen.append(shown.detach().clone())
        return cubic(shown)

    search(recording, images, start=None, budget=LINF, noise=noise)
    return seen[0]


def test_random_starts_are_what_they_are_called() -> None:
    images = 0.2 + 0.6 * images_of(40)
    items = range(40)
    moved = {
        kind: first_shown(
            GradientAscent(random_start=kind, steps=1), images, ItemNoise.of(0, items=items)
        )
        - images
        for kind in ("uniform", "one_sided", "none")
    }
    assert torch.equal(moved["none"], torch.zeros_like(images))
    assert float(moved["uniform"].min()) == pytest.approx(-EPS, rel=0.02)
    assert float(moved["uniform"].max()) == pytest.approx(EPS, rel=0.02)
    assert float(moved["uniform"].mean()) == pytest.approx(0, abs=0.03 * EPS)
    assert float(moved["one_sided"].min()) == pytest.approx(0, abs=0.01 * EPS)
    assert float(moved["one_sided"].max()) == pytest.approx(EPS, rel=0.01)
    assert float(moved["one_sided"].mean()) == pytest.approx(EPS / 2, rel=0.03)


def test_a_one_sided_start_is_uniform_under_l2() -> None:
    found = [
        GradientAscent(random_start=kind, steps=2)(
            cubic, images_of(), start=None, budget=L2, noise=noise_of(0, 1)
        ).images
        for kind in ("one_sided", "uniform")
    ]
    assert torch.equal(*found)


def test_steps_without_a_length_go_a_quarter_beyond_the_budget() -> None:
    """1.25 eps / steps: on a linear objective the last step of five is cut at the edge."""
    images = torch.full((1, 3, 4, 4), 0.5)
    for steps, reached in ((1, 1.0), (5, 1.0), (2, 1.0)):
        search = GradientAscent(step_size=None, steps=steps, random_start="none")
        found = search(
            lambda x: x.flatten(1).sum(dim=1),
            images,
            start=None,
            budget=LINF,
            noise=ItemNoise.of(0, items=[0]),
        )
        assert float((found.images - images).max()) == pytest.approx(reached * EPS, rel=1e-5)
        before = 1.25 * EPS * (steps - 1) / steps
        assert float((found.previous - images).max()) == pytest.approx(before, rel=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from([0.1, 0.5, 0.75, 1.25, 1.5]), max_size=3, unique=True))
def test_scales_add_the_gradients_of_the_rescaled_noisy_copies(scales: list[float]) -> None:
    images = images_of()
    got = multi_scale_gradient(
        cubic, images, scales=tuple(scales), noise_std=0.05, noise=noise_of(0, 1)
    )
    noise, x = noise_of(0, 1), images.clone().requires_grad_()
    total = cubic(x)
    for scale in scales:
        size = max(1, int(6 * scale))
        copy = x + 0.05 * noise.normal(x)
        copy = F.interpolate(copy, size=(size, size), mode="bicubic").clamp(0, 1)
        total = total + cubic(F.interpolate(copy, size=(6, 6), mode="bicubic"))
    (expected,) = torch.autograd.grad(total.sum(), x)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_one_copy_at_a_time_is_shown() -> None:
    sizes: list[int] = []

    def counting(shown: Tensor) -> Tensor:
        sizes.append(len(shown))
        return cubic(shown)

    search = GradientAscent(steps=2, scales=(0.5, 0.75, 1.25, 1.5))
    search(counting, images_of(), start=None, budget=LINF, noise=noise_of(0, 1))
    assert sizes == [2] * 10


def test_steps_follow_the_multi_scale_gradient(bumpy: Objective) -> None:
    images = images_of()
    search = GradientAscent(step_size=1 / 255, steps=3, scales=(0.5, 1.5), random_start="none")
    found = search(bumpy, images, start=None, budget=LINF, noise=noise_of(0, 1))
    noise, current = noise_of(0, 1), images
    for _ in range(3):
        gradient = multi_scale_gradient(
            bumpy, current, scales=(0.5, 1.5), noise_std=0.05, noise=noise
        )
        current = clipped(current + gradient.sign() / 255, images)
    torch.testing.assert_close(found.images, current, atol=1e-6, rtol=0)


def test_copies_are_clipped_when_rescaled_and_not_when_brought_back() -> None:
    edge = torch.zeros(1, 1, 8, 8)
    edge[..., 4:] = 1.0
    copy = rescaled(edge * 3 - 1, 1.0)
    assert torch.equal(copy, edge)
    assert float(rescaled(edge, 0.5).max()) > 1
    assert rescaled(torch.rand(2, 3, 5, 9), 0.1).shape == (2, 3, 5, 9)
