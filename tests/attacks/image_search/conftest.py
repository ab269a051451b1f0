"""Every image search, in settings small enough to run many times."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmrobust.attacks.image_search.apgd import AdaptiveAscent
from mmrobust.attacks.image_search.base import ImageSearch
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.image_search.input_diversity import InputDiversity
from mmrobust.attacks.image_search.square import RandomSquares
from mmrobust.attacks.image_search.trajectory_mixing import TrajectoryMixing

SEARCHES: dict[str, ImageSearch] = {
    "ascent": GradientAscent(step_size=1 / 255, steps=4),
    "no_random_start": GradientAscent(step_size=1 / 255, steps=4, random_start="none"),
    "momentum": GradientAscent(step_size=1 / 255, steps=4, momentum=1.0),
    "diversity": GradientAscent(
        step_size=1 / 255, steps=4, diversity=InputDiversity(resize_rate=0.5)
    ),
    "scales": GradientAscent(step_size=1 / 255, steps=4, scales=(0.5, 1.5)),
    "trajectory_mixing": TrajectoryMixing(step_size=1 / 255, steps=4),
    "apgd": AdaptiveAscent(steps=9, restarts=2),
    "square": RandomSquares(queries=40),
}


@pytest.fixture(params=SEARCHES)
def search(request: pytest.FixtureRequest) -> ImageSearch:
    return SEARCHES[request.param]


@pytest.fixture
def bumpy() -> Callable[[Tensor], Tensor]:
    """A smooth objective of (B, 3, 6, 6) images with many maxima, the same for every image."""
    generator = torch.Generator().manual_seed(11)
    maps = torch.randn(5, 3, 6, 6, generator=generator)

    def objective(images: Tensor) -> Tensor:
        features = torch.stack([(images * m).sum(dim=(1, 2, 3)) for m in maps.to(images)], dim=1)
        return torch.sin(3 * features).sum(dim=1) + 0.1 * features.sum(dim=1)

    return objective
