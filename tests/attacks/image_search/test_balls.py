from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmrobust.attacks.image_search.balls import Ball, L2Ball, LinfBall, ball_of
from mmrobust.attacks.noise import ItemNoise
from mmrobust.threat import ImageBudget

SHAPE = (2, 3, 2, 2)
PIXELS = 24
pixel = st.floats(0, 1, width=32)
pixels = st.lists(pixel, min_size=PIXELS, max_size=PIXELS)
shifts = st.lists(st.floats(-3, 3, width=32), min_size=PIXELS, max_size=PIXELS)
linf_eps = st.sampled_from([0.0, 1e-30, 1e-9, 2 / 255, 0.125 - 2**-56, 1.0]) | st.floats(0, 1)
l2_eps = st.sampled_from([0.0, 1e-30, 1e-9, 2 / 255, 0.5, 1.0, 10.0]) | st.floats(0, 10)
balls = linf_eps.map(LinfBall) | l2_eps.map(L2Ball)


def images_of(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(SHAPE)


def exact_size(ball: Ball, images: Tensor, original: Tensor) -> Tensor:
    """Norm of the float64 difference, image by image, without the code under test."""
    delta = (images.double() - original.double()).flatten(1)
    if isinstance(ball, LinfBall):
        return delta.abs().max(dim=1).values
    return delta.pow(2).sum(dim=1).sqrt()


@settings(deadline=None)
@given(balls, pixels, shifts)
@example(LinfBall(0.125 - 2**-56), [0.5] * PIXELS, [1.0] * PIXELS)
@example(LinfBall(2 / 255), [0.3] * PIXELS, [-1.0] * PIXELS)
@example(L2Ball(1e-30), [0.5] * PIXELS, [1e-20] * PIXELS)
def test_confined_images_are_exactly_within_the_ball(
    ball: Ball, values: list[float], moves: list[float]
) -> None:
    original = images_of(values)
    found = ball.confine(original + images_of(moves), original)
    assert bool((ball.size(found.double() - original.double()) <= ball.eps).all())
    assert bool((exact_size(ball, found, original) <= ball.eps).all())
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


@pytest.mark.parametrize("eps", [1e-6, 0.1, 0.3])
@pytest.mark.parametrize("kind", [LinfBall, L2Ball], ids=["linf", "l2"])
def test_confining_undoes_what_rounding_adds(kind: type[LinfBall | L2Ball], eps: float) -> None:
    generator = torch.Generator().manual_seed(0)
    original = 0.3 + 0.4 * torch.rand(300, 3, 4, 4, generator=generator)
    moved = original + torch.randn(300, 3, 4, 4, generator=generator)
    ball = kind(eps)
    projected = exact_size(ball, ball.project(moved, original), original)
    assert bool((projected > eps).any())
    assert bool((exact_size(ball, ball.confine(moved, original), original) <= eps).all())


@settings(deadline=None)
@given(balls, pixels, shifts)
def test_confining_again_changes_nothing(
    ball: Ball, values: list[float], moves: list[float]
) -> None:
    original = images_of(values)
    found = ball.confine(original + images_of(moves), original)
    torch.testing.assert_close(ball.confine(found, original), found, atol=1e-7, rtol=0)


@pytest.mark.parametrize("ball", [LinfBall(0.0), L2Ball(0.0)], ids=["linf", "l2"])
@given(values=pixels, moves=shifts)
def test_a_ball_of_radius_0_holds_the_original_alone(
    ball: Ball, values: list[float], moves: list[float]
) -> None:
    original = images_of(values)
    moved = original + images_of(moves)
    noise = ItemNoise.of(0, items=range(2))
    for found in (
        ball.confine(moved, original),
        ball.project(moved, original),
        ball.random_start(original, noise),
    ):
        assert torch.equal(found, original)


@settings(deadline=None)
@given(balls, pixels, shifts)
def test_projection_stays_near_the_ball_and_hardly_moves_again(
    ball: Ball, values: list[float], moves: list[float]
) -> None:
    original = images_of(values)
    found = ball.project(original + images_of(moves), original)
    assert bool((exact_size(ball, found, original) <= ball.eps + 1e-6).all())
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    torch.testing.assert_close(ball.project(found, original), found, atol=1e-6, rtol=0)


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(-2, 2, width=32), pixel)
def test_linf_projection_is_the_nearest_allowed_pixel(
    eps: float, shift: float, value: float
) -> None:
    original = torch.tensor([[[[value]]]])
    found = float(LinfBall(eps).project(original + shift, original))
    low, high = max(0.0, value - eps), min(1.0, value + eps)
    assert found == pytest.approx(min(max(value + shift, low), high), abs=1e-6)


def test_l2_projection_scales_back_to_the_sphere_and_leaves_the_inside_alone() -> None:
    original = torch.full((2, 3, 2, 2), 0.5)
    delta = torch.zeros_like(original)
    delta[0, 0, 0] = torch.tensor([0.3, 0.4])
    delta[1, 2, 1] = torch.tensor([0.003, 0.004])
    found = L2Ball(0.25).project(original + delta, original)
    torch.testing.assert_close(found[0] - original[0], delta[0] / 2)
    assert torch.equal(found[1], original[1] + delta[1])


@pytest.mark.parametrize("eps", [0.0, 1e-32])
def test_l2_projection_sees_changes_whose_squares_are_lost(eps: float) -> None:
    original = torch.zeros(1, 1, 1, 2)
    moved = torch.tensor([[[[3e-30, 4e-30]]]])
    found = L2Ball(eps).project(moved, original)
    torch.testing.assert_close(found, moved * (eps / 5e-30), atol=0, rtol=1e-5)


def test_confined_images_reach_the_boundary() -> None:
    original = torch.full(SHAPE, 0.5)
    for ball in (LinfBall(2 / 255), L2Ball(0.1)):
        found = ball.confine(original + 0.4, original)
        size = exact_size(ball, found, original)
        torch.testing.assert_close(size, torch.full_like(size, ball.eps), atol=0, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e30])
def test_directions_are_unit_steps_whatever_the_gradient_s_size(scale: float) -> None:
    gradient = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    gradient[1] = 0
    sign = LinfBall(0.1).direction(gradient * scale)
    assert torch.equal(sign, gradient.sign())
    unit = L2Ball(0.1).direction(gradient * scale)
    torch.testing.assert_close(unit[0], gradient[0] / gradient[0].norm())
    assert torch.equal(unit[1], torch.zeros_like(unit[1]))


@settings(deadline=None)
@given(balls, pixels, st.integers(0, 10**6))
def test_random_starts_are_within_the_ball(ball: Ball, values: list[float], seed: int) -> None:
    original = images_of(values)
    found = ball.random_start(original, ItemNoise.of(seed, items=range(2)))
    assert bool((exact_size(ball, found, original) <= ball.eps + 1e-6).all())
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


def test_random_starts_are_uniform_in_the_volume() -> None:
    original = torch.full((4000, 1, 1, 2), 0.5)
    noise = ItemNoise.of(0, items=range(4000))
    radius = exact_size(L2Ball(0.1), L2Ball(0.1).random_start(original, noise), original)
    # In two dimensions half of the area lies within eps / sqrt(2).
    assert float((radius < 0.1 / 2**0.5).double().mean()) == pytest.approx(0.5, abs=0.03)
    moved = LinfBall(0.1).random_start(original, noise) - original
    assert float((moved.abs() < 0.05).double().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(moved.mean()) == pytest.approx(0, abs=0.003)


@pytest.mark.parametrize("ball", [LinfBall(0.1), L2Ball(0.1)], ids=["linf", "l2"])
def test_random_start_of_an_item_does_not_depend_on_its_batch(ball: Ball) -> None:
    original = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    whole = ball.random_start(original, ItemNoise.of(5, items=range(4)))
    for row in range(4):
        alone = ball.random_start(original[row : row + 1], ItemNoise.of(5, items=[row]))
        torch.testing.assert_close(alone[0], whole[row], atol=1e-7, rtol=0)
    again = ball.random_start(original, ItemNoise.of(5, items=range(4)))
    assert torch.equal(again, whole)
    other = ball.random_start(original, ItemNoise.of(6, items=range(4)))
    assert not torch.equal(other, whole)


def test_the_ball_of_a_budget_has_its_norm() -> None:
    assert ball_of(ImageBudget(norm="linf", eps=0.5)) == LinfBall(0.5)
    assert ball_of(ImageBudget(norm="l2", eps=3)) == L2Ball(3)
