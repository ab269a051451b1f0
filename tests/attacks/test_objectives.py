"""Objectives against sums written out one number at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmrobust.attacks.objectives import (
    IMAGE_OBJECTIVES,
    Context,
    Distractors,
    ImageObjective,
    away_from_image,
    away_from_text,
    contrastive,
    embedding_divergence,
    joint_divergence,
    positive_pair,
    soft_margin,
    soft_margin_i2t,
    soft_margin_t2i,
    text_soft_margin,
    text_soft_margin_t2i,
)
from mmrobust.errors import UserError

SCALE = 7.0
CAPTION_IMAGE = [0, 0, 1, 1, 1, 2]  # of the batch
TEXT_IMAGE = [0, 0, 1, 2, 2, 2, 3, 4, 4, 1]  # of the gallery, in no order
OWN = [4, 2, 0]  # where the batch stands in the gallery
OBJECTIVES: dict[str, ImageObjective] = {
    **IMAGE_OBJECTIVES,
    "embedding_divergence": embedding_divergence,
    "joint_divergence": partial(joint_divergence, alpha=3.0),
}


def unit(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, 5, generator=generator, dtype=torch.float64), dim=1)


@pytest.fixture
def image() -> Tensor:
    return unit(3, 1)


@pytest.fixture
def text() -> Tensor:
    return unit(6, 2)


@pytest.fixture
def context() -> Context:
    return Context(
        image=unit(3, 3),
        text=unit(6, 4),
        caption_image=torch.tensor(CAPTION_IMAGE),
        scale=torch.tensor(SCALE, dtype=torch.float64),
        distractors=Distractors(unit(5, 5), unit(10, 6), torch.tensor(TEXT_IMAGE)),
        own=torch.tensor(OWN),
    )


def dot(a: Tensor, b: Tensor) -> float:
    return math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def softmax(row: Tensor) -> list[float]:
    powers = [math.exp(float(x)) for x in row]
    return [power / math.fsum(powers) for power in powers]


def kl(p: Tensor, q: Tensor) -> float:
    return math.fsum(a * math.log(a / b) for a, b in zip(softmax(p), softmax(q), strict=True))


def wrong_captions(image: Tensor, at: int, context: Context) -> list[float]:
    """exp of scaled similarities of image `at` with the captions of other images."""
    rows = [row for row, owner in enumerate(TEXT_IMAGE) if owner != OWN[at]]
    return [math.exp(SCALE * dot(image, context.distractors.text[row])) for row in rows]


def wrong_images(text: Tensor, at: int, context: Context) -> list[float]:
    rows = [row for row in range(5) if row != OWN[at]]
    return [math.exp(SCALE * dot(text, context.distractors.image[row])) for row in rows]


def captions_of(at: int) -> list[int]:
    return [row for row, owner in enumerate(CAPTION_IMAGE) if owner == at]


def by_hand(name: str, image: Tensor, text: Tensor, context: Context) -> list[float]:
    """Every image objective, for every image of the batch."""
    values = []
    for at in range(3):
        own = captions_of(at)
        pairs = [dot(image[at], text[row]) for row in own]
        scaled = [math.exp(SCALE * pair) for pair in pairs]
        others = math.fsum(wrong_captions(image[at], at, context))
        far = [math.fsum(wrong_images(text[row], at, context)) for row in own]
        from_clean = kl(context.image[at], image[at])
        values.append(
            {
                "positive_pair": -math.fsum(pairs),
                "contrastive": np.mean(
                    [
                        (math.log((p + others) / p) + math.log((p + f) / p)) / 2
                        for p, f in zip(scaled, far, strict=True)
                    ]
                ),
                "soft_margin": math.log(others)
                - math.log(math.fsum(scaled))
                + np.mean([math.log(f / p) for p, f in zip(scaled, far, strict=True)]),
                "embedding_divergence": from_clean,
                "joint_divergence": from_clean
                + 3 * np.mean([kl(text[row], image[at]) for row in own]),
            }[name]
        )
    return [float(value) for value in values]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_image_objectives_equal_their_sums(
    name: str, image: Tensor, text: Tensor, context: Context
) -> None:
    found = OBJECTIVES[name](image, text, context)
    np.testing.assert_allclose(found, by_hand(name, image, text, context), rtol=1e-9)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_images_objective_reads_no_other_image(
    name: str, image: Tensor, text: Tensor, context: Context
) -> None:
    for at in range(3):
        leaf = image.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(OBJECTIVES[name](leaf, text, context)[at], leaf)
        others = [row for row in range(3) if row != at]
        assert float(gradient[at].abs().max()) > 0
        assert torch.equal(gradient[others], torch.zeros(2, 5, dtype=torch.float64))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_images_objective_reads_its_own_captions_alone(
    name: str, image: Tensor, text: Tensor, context: Context
) -> None:
    moved = text.clone()
    moved[captions_of(1)] = unit(3, 9)
    before, after = (OBJECTIVES[name](image, each, context) for each in (text, moved))
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert bool(before[1] != after[1]) == (name != "embedding_divergence")


@pytest.mark.parametrize("objective", [contrastive, soft_margin])
def test_own_clean_pairs_of_the_gallery_are_no_negatives(
    objective: ImageObjective, image: Tensor, text: Tensor, context: Context
) -> None:
    """An item is compared with other items; what it was itself, in the gallery, is not asked."""
    gallery = context.distractors
    moved = Distractors(gallery.image.clone(), gallery.text.clone(), gallery.text_image)
    moved.image[OWN[0]], moved.text[[7, 8]] = unit(1, 20)[0], unit(2, 21)
    before = objective(image, text, context)
    after = objective(image, text, replace(context, distractors=moved))
    assert before[0] == after[0]
    assert bool((before[1:] != after[1:]).all())


def test_soft_margin_says_how_rank_1_falls(context: Context) -> None:
    """At a large scale it is the difference of the best scores, which decides rank 1."""
    image, text = unit(3, 1), unit(6, 2)
    sharp = replace(context, scale=torch.tensor(1e4, dtype=torch.float64))
    found = soft_margin(image, text, sharp) / 1e4
    by_images = soft_margin_i2t(image, text, sharp) / 1e4
    by_captions = soft_margin_t2i(image, text, sharp) / 1e4
    for at in range(3):
        wrong = [r for r, owner in enumerate(TEXT_IMAGE) if owner != OWN[at]]
        own = captions_of(at)
        i2t = max(dot(image[at], context.distractors.text[r]) for r in wrong) - max(
            dot(image[at], text[r]) for r in own
        )
        others = [r for r in range(5) if r != OWN[at]]
        t2i = np.mean(
            [
                max(dot(text[r], context.distractors.image[o]) for o in others)
                - dot(text[r], image[at])
                for r in own
            ]
        )
        assert float(found[at]) == pytest.approx(i2t + t2i, abs=1e-3)
        assert float(by_images[at]) == pytest.approx(i2t, abs=1e-3)
        assert float(by_captions[at]) == pytest.approx(t2i, abs=1e-3)


ROWS, OWNER = unit(4, 7), torch.tensor([5, 0, 3, 3])


def test_text_objectives_equal_their_sums(image: Tensor, context: Context) -> None:
    of_image = [CAPTION_IMAGE[owner] for owner in OWNER.tolist()]
    pairs = [dot(row, image[at]) for row, at in zip(ROWS, of_image, strict=True)]
    np.testing.assert_allclose(
        away_from_image(ROWS, OWNER, image, context), [-pair for pair in pairs], rtol=1e-12
    )
    np.testing.assert_allclose(
        away_from_text(ROWS, OWNER, image, context),
        [kl(context.text[owner], row) for row, owner in zip(ROWS, OWNER, strict=True)],
        rtol=1e-9,
    )
    margins = [
        math.log(math.fsum(wrong_images(row, at, context))) - 2 * SCALE * pair
        for row, at, pair in zip(ROWS, of_image, pairs, strict=True)
    ]
    np.testing.assert_allclose(text_soft_margin(ROWS, OWNER, image, context), margins, rtol=1e-9)
    of_t2i = [margin + SCALE * pair for margin, pair in zip(margins, pairs, strict=True)]
    np.testing.assert_allclose(text_soft_margin_t2i(ROWS, OWNER, image, context), of_t2i, rtol=1e-9)


@pytest.mark.parametrize("objective", [contrastive, soft_margin])
def test_a_gallery_of_one_image_is_refused(objective: ImageObjective) -> None:
    image, text = unit(1, 1), unit(2, 2)
    alone = Context(
        image=image,
        text=text,
        caption_image=torch.tensor([0, 0]),
        scale=torch.tensor(SCALE),
        distractors=Distractors(image, text, torch.tensor([0, 0])),
        own=torch.tensor([0]),
    )
    with pytest.raises(UserError, match="a gallery of at least two images"):
        objective(image, text, alone)
    assert float(positive_pair(image, text, alone)) == pytest.approx(
        -dot(image[0], text[0]) - dot(image[0], text[1])
    )


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_large_logits_stay_finite(
    objective: Callable[..., Tensor], image: Tensor, text: Tensor, context: Context
) -> None:
    sharp = replace(
        context, **{name: getattr(context, name).float() for name in ("image", "text")},
        scale=torch.tensor(1e4), distractors=Distractors(
            context.distractors.image.float(), context.distractors.text.float(),
            context.distractors.text_image,
        ),
    )  # fmt: skip
    leaf = image.float().requires_grad_()
    values = objective(leaf, text.float(), sharp)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    assert bool(values.isfinite().all())
    assert bool(gradient.isfinite().all())
