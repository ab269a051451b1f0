from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrobust.attacks.image_search import SignGradientAscent, project
from mmrobust.threat import ImageBudget


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def interior(seed: int = 0) -> torch.Tensor:
    """Images far enough from 0 and 1 that no pixel is clipped."""
    return 0.2 + 0.6 * torch.rand(2, 3, 4, 4, generator=generator(seed))


@pytest.mark.parametrize("random_start", [False, True])
def test_reaches_the_optimum_of_a_linear_objective(random_start: bool) -> None:
    weight = torch.randn(3, 4, 4, generator=generator(1))
    images, eps = interior(), 4 / 255
    search = SignGradientAscent(step_size=1 / 255, steps=10, random_start=random_start)
    found = search(
        lambda x: (x * weight).sum(dim=(1, 2, 3)),
        images,
        budget=ImageBudget(eps=eps),
        generator=generator(),
    )
    # The maximum of <w, x + d> over |d| <= eps is <w, x> + eps * |w|_1, at x + eps * sign(w).
    torch.testing.assert_close(found, images + eps * weight.sign())


def test_stays_within_the_pixel_range_at_its_edges() -> None:
    images = torch.zeros(1, 3, 2, 2)
    images[0, 0] = 1.0
    search = SignGradientAscent(step_size=0.1, steps=3)
    found = search(
        lambda x: (x * torch.tensor([1.0, -1.0, 1.0]).view(3, 1, 1)).sum(dim=(1, 2, 3)),
        images,
        budget=ImageBudget(eps=0.05),
        generator=generator(),
    )
    expected = torch.tensor([1.0, 0.0, 0.05]).view(1, 3, 1, 1).expand_as(images)
    torch.testing.assert_close(found, expected)


@given(
    eps=st.floats(0, 1),
    shift=st.floats(-2, 2),
    value=st.floats(0, 1),
)
def test_projection_is_the_nearest_allowed_pixel(eps: float, shift: float, value: float) -> None:
    original = torch.tensor([[[[value]]]])
    found = float(project(original + shift, original, ImageBudget(eps=eps)))
    low, high = max(0.0, value - eps), min(1.0, value + eps)
    assert found == pytest.approx(min(max(value + shift, low), high), abs=1e-6)


def test_zero_radius_is_the_identity() -> None:
    images = interior()
    found = SignGradientAscent(scales=(0.5,))(
        lambda x: x.sum(dim=(1, 2, 3)), images, budget=ImageBudget(eps=0), generator=generator()
    )
    assert torch.equal(found, images)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([0.5, 0.75, 1.25, 1.5]))
def test_scales_add_the_gradient_of_the_rescaled_copy(scale: float) -> None:
    images = interior()
    weight = torch.randn(3, 4, 4, generator=generator(1))

    def objective(x: torch.Tensor) -> torch.Tensor:
        return (x * weight).pow(2).sum(dim=(1, 2, 3))

    search = SignGradientAscent(scales=(scale,), noise_std=0.0)
    got = search._gradient(objective, images, generator())
    x = images.clone().requires_grad_()
    size = max(1, int(4 * scale))
    resize = torch.nn.functional.interpolate
    copy = resize(x, size=(size, size), mode="bicubic").clamp(0, 1)
    copy = resize(copy, size=(4, 4), mode="bicubic")
    (expected,) = torch.autograd.grad((objective(x) + objective(copy)).sum(), x)
    torch.testing.assert_close(got, expected)


def test_noise_changes_what_the_copies_see() -> None:
    images = interior()

    def objective(x: torch.Tensor) -> torch.Tensor:
        return x.pow(3).sum(dim=(1, 2, 3))

    plain = SignGradientAscent(scales=(0.5,), noise_std=0.0)._gradient(
        objective, images, generator()
    )
    noisy = SignGradientAscent(scales=(0.5,), noise_std=0.3)._gradient(
        objective, images, generator()
    )
    assert not torch.allclose(plain, noisy)
