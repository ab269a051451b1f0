from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmrobust.attacks.image_search.square import RandomSquares, window_side
from mmrobust.attacks.image_search.square_proposals import L2Squares, LinfSquares, _hills
from mmrobust.attacks.noise import ItemNoise
from mmrobust.threat import ImageBudget

Objective = Callable[[Tensor], Tensor]
EPS = 8 / 255
LINF, L2 = ImageBudget(eps=EPS), ImageBudget(norm="l2", eps=0.4)
each_budget = pytest.mark.parametrize("budget", [LINF, L2], ids=["linf", "l2"])


def interior(count: int, *, height: int = 6, width: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.3 + 0.4 * torch.rand(count, 3, height, width, generator=generator)


def noise_of(*items: int) -> ItemNoise:
    return ItemNoise.of(0, "square", items=items)


@each_budget
def test_never_asks_for_gradients_and_spends_its_queries(
    bumpy: Objective, budget: ImageBudget
) -> None:
    values: list[Tensor] = []

    def recording(shown: Tensor) -> Tensor:
        assert torch.is_grad_enabled() is False
        values.append(bumpy(shown))
        return values[-1]

    images = interior(3)
    found = RandomSquares(queries=60)(
        recording, images, start=None, budget=budget, noise=noise_of(0, 1, 2)
    )
    assert len(values) == 60
    reached = bumpy(found.images)
    assert torch.equal(reached, torch.stack(values).amax(dim=0))
    assert bool((reached > values[0]).all())
    assert bool((reached > bumpy(images)).all())
    assert torch.equal(found.previous, found.images)


def test_linf_comes_near_the_optimum_of_a_linear_objective() -> None:
    images = interior(3, height=4, width=4)
    weight = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    found = RandomSquares(queries=1500)(
        lambda x: (x * weight).sum(dim=(1, 2, 3)),
        images,
        start=None,
        budget=LINF,
        noise=noise_of(0, 1, 2),
    )
    gain = ((found.images - images) * weight).sum(dim=(1, 2, 3))
    best = EPS * weight.abs().sum(dim=(1, 2, 3))
    assert bool((gain >= 0.9 * best).all())
    assert bool((gain <= best * (1 + 1e-5)).all())


def test_l2_gets_far_towards_the_optimum_of_a_smooth_linear_objective() -> None:
    images = interior(3, height=8, width=8)
    ramp = torch.linspace(-1, 1, 8).expand(3, 3, 8, 8)
    found = RandomSquares(queries=800, p_init=0.3)(
        lambda x: (x * ramp).sum(dim=(1, 2, 3)),
        images,
        start=None,
        budget=L2,
        noise=noise_of(0, 1, 2),
    )
    gain = ((found.images - images) * ramp).sum(dim=(1, 2, 3))
    assert bool((gain >= 0.4 * L2.eps * ramp[0].norm()).all())


def test_window_sides_follow_the_schedule_stretched_to_the_queries() -> None:
    images = torch.empty(1, 3, 100, 100)
    sides = {done: window_side(0.8, done, 10_000, images) for done in (0, 10, 11, 51, 201, 8001)}
    assert sides == {0: 89, 10: 89, 11: 63, 51: 45, 201: 32, 8001: 4}
    assert window_side(0.8, 51, 1000, images) == window_side(0.8, 510, 10_000, images)
    assert window_side(0.8, 0, 10, torch.empty(1, 3, 4, 20)) == 4
    assert window_side(0.0, 0, 10, images) == 1


def test_linf_starts_with_vertical_stripes_of_plus_and_minus_eps() -> None:
    images = interior(8)
    delta = LinfSquares(LINF).start(images, noise_of(*range(8))) - images
    torch.testing.assert_close(delta.abs(), torch.full_like(delta, EPS))
    signs = delta.sign()
    assert torch.equal(signs, signs[:, :, :1, :].expand_as(signs))
    assert float(signs.mean()) == pytest.approx(0, abs=0.3)


def test_linf_windows_are_squares_of_one_sign_by_colour_at_every_place() -> None:
    images = interior(300)
    squares, best = LinfSquares(LINF), images.clone()
    trial = squares.trial(best, images, side=4, noise=noise_of(*range(300)))
    delta = trial - images
    changed = delta != 0
    assert bool((changed.sum(dim=(2, 3)) == 16).all())
    torch.testing.assert_close(delta.abs(), EPS * changed.float())
    tops = changed[:, 0].any(dim=2).int().argmax(dim=1)
    lefts = changed[:, 0].any(dim=1).int().argmax(dim=1)
    assert set(zip(tops.tolist(), lefts.tolist(), strict=True)) == {
        (top, left) for top in range(3) for left in range(3)
    }
    for colour in range(3):
        sums = delta[:, colour].sum(dim=(1, 2)).abs()
        torch.testing.assert_close(sums, torch.full_like(sums, 16 * EPS), atol=1e-5, rtol=0)
    first, second = delta[:, 0].sum(dim=(1, 2)).sign(), delta[:, 1].sum(dim=(1, 2)).sign()
    assert 0.3 < float((first == second).float().mean()) < 0.7


@pytest.mark.parametrize("shape", [(6, 6), (8, 11), (3, 3), (2, 5)])
def test_l2_points_use_the_whole_radius(shape: tuple[int, int]) -> None:
    images = interior(5, height=shape[0], width=shape[1])
    budget = ImageBudget(norm="l2", eps=0.1)
    squares, noise = L2Squares(budget), noise_of(*range(5))
    best = squares.start(images, noise)
    full = torch.full((5,), 0.1)
    torch.testing.assert_close((best - images).flatten(1).norm(dim=1), full, atol=1e-5, rtol=0)
    for side in (5, 3, 1):
        best = squares.trial(best, images, side=side, noise=noise)
        moved = (best - images).flatten(1).norm(dim=1)
        torch.testing.assert_close(moved, full, atol=1e-5, rtol=0)


def test_l2_starts_with_tiles_of_hills_around_the_middle() -> None:
    images = interior(4, height=10, width=13)
    delta = L2Squares(L2).start(images, noise_of(*range(4))) - images
    # Tiles of two pixels: five down, six across, and a column to spare on the right.
    assert torch.equal(delta[..., 12], torch.zeros_like(delta[..., 12]))
    height = L2.eps / (3 * 30) ** 0.5
    standing = 0
    for row in range(4):
        for top in range(0, 10, 2):
            for left in range(0, 12, 2):
                tile = delta[row, :, top : top + 2, left : left + 2] / height
                patterns = [eta(2), eta(2).T]
                fits = [
                    all(
                        torch.allclose(colour.abs(), pattern.abs(), atol=1e-4)
                        and torch.allclose(colour * colour[1, 1].sign(), -pattern, atol=1e-4)
                        for colour in tile
                    )
                    for pattern in patterns
                ]
                assert sum(fits) == 1
                standing += fits[1]
    assert 0.3 < standing / 120 < 0.7


@pytest.mark.parametrize(("side", "expected"), [(1, 3), (2, 3), (3, 3), (4, 5), (9, 6)])
def test_l2_windows_are_odd_and_at_least_three_pixels_where_they_fit(
    side: int, expected: int
) -> None:
    images = interior(4)
    trial = L2Squares(L2).trial(images, images, side=side, noise=noise_of(*range(4)))
    changed = ((trial - images).abs() > 1e-6)[:, 0]
    assert changed.any(dim=2).sum(dim=1).tolist() == [expected] * 4
    assert changed.any(dim=1).sum(dim=1).tolist() == [expected] * 4


def test_l2_trial_agrees_with_the_papers_update_image_by_image() -> None:
    images, side = interior(6, height=9, width=9), 3
    generator = torch.Generator().manual_seed(2)
    delta = 0.02 * torch.randn(6, 3, 9, 9, generator=generator)
    trial = L2Squares(L2).trial(images + delta, images, side=side, noise=noise_of(*range(6)))
    for row in range(6):
        draws = noise_of(row).uniform(torch.empty(1, 8))[0].tolist()
        (r1, c1), (r2, c2) = [
            (int(down * 7), int(across * 7)) for down, across in (draws[0:2], draws[2:4])
        ]
        old = (images + delta)[row] - images[row]
        union = torch.zeros(9, 9, dtype=torch.bool)
        union[r1 : r1 + side, c1 : c1 + side] = True
        union[r2 : r2 + side, c2 : c2 + side] = True
        unused = max(L2.eps**2 - float(old.norm()) ** 2, 0.0)
        new = old.clone()
        new[:, r2 : r2 + side, c2 : c2 + side] = 0
        for colour in range(3):
            hills = eta(side) if draws[4] < 0.5 else eta(side).T
            sign = -1 if draws[5 + colour] < 0.5 else 1
            held = old[colour, r1 : r1 + side, c1 : c1 + side]
            mixed = sign * hills + held / held.norm()
            available = (float(old[colour][union].norm()) ** 2 + unused / 3) ** 0.5
            new[colour, r1 : r1 + side, c1 : c1 + side] = mixed / mixed.norm() * available
        expected = (images[row] + new).clamp(0, 1)
        torch.testing.assert_close(trial[row], expected, atol=1e-5, rtol=0)


def eta(side: int) -> Tensor:
    """The paper's pattern, added up ring by ring."""
    halves = []
    for height in (side // 2, side - side // 2):
        half = torch.zeros(height, side)
        for row in range(height):
            for column in range(side):
                distance = max(abs(row - height // 2), abs(column - side // 2))
                rings = range(distance, max(height, side) // 2 + 1)
                half[row, column] = sum(1 / (ring + 1) ** 2 for ring in rings)
        halves.append(half / half.norm() if height else half)
    both = torch.cat([halves[0], -halves[1]])
    return both / both.norm()


@pytest.mark.parametrize("side", [1, 2, 3, 7, 8])
def test_hills_have_unit_norm_and_lie_or_stand(side: int) -> None:
    hills = _hills(torch.tensor([0.2, 0.8]).view(2, 1, 1), side)
    torch.testing.assert_close(hills[0], eta(side))
    torch.testing.assert_close(hills[1], eta(side).T)
    assert float(hills[0].norm()) == pytest.approx(1, abs=1e-6)
