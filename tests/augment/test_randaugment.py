from __future__ import annotations

import colorsys
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from tests.augment.conftest import Augment

from mmrobust.augment.base import Sources
from mmrobust.augment.chunks import build_augmenter
from mmrobust.augment.randaugment import OPERATIONS, random_crop
from mmrobust.errors import UserError

SIDE = 21
WITHOUT_STRENGTH = ("identity", "autocontrast", "equalize")
ORANGE, NAVY, PINK = (250, 128, 5), (10, 20, 90), (250, 133, 194)


def operated(name: str, picture: np.ndarray, strength: float) -> np.ndarray:
    """Apply an operation to uint8 (H, W, 3)."""
    changed = OPERATIONS[name](torch.tensor(picture).permute(2, 0, 1), strength)
    assert changed.dtype == torch.uint8
    return changed.permute(1, 2, 0).numpy()


def augmented(images: np.ndarray, seed: int = 0, **fields: Any) -> np.ndarray:
    source: Any = SimpleNamespace(split=SimpleNamespace(images=images))
    rows = np.arange(len(images))
    generate = build_augmenter({"method": "randaugment", **fields}).open(source)
    made = generate(Sources(rows, rows, 0), np.random.default_rng(seed))
    assert made.true is None
    return np.asarray(made.values)


def noise(n: int, low: int = 0, high: int = 256, side: int = SIDE) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(low, high, (n, side, side, 3), dtype=np.uint8)


def grey(low: int = 0, high: int = 256) -> np.ndarray:
    return np.repeat(noise(1, low, high)[0, :, :, :1], 3, axis=2)


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - set(WITHOUT_STRENGTH)))
def test_no_strength_is_no_change_and_some_is_one(name: str) -> None:
    picture = noise(1)[0]
    assert np.array_equal(operated(name, picture, 0.0), picture)
    for strength in (-1.0, 0.5, 1.0):
        changed = operated(name, picture, strength)
        assert changed.shape == picture.shape
        assert (changed != picture).any()


def test_identity_is_no_change() -> None:
    picture = noise(1)[0]
    assert np.array_equal(operated("identity", picture, 1.0), picture)


def test_grey_pictures_are_lit_as_pillow_lights_them() -> None:
    picture = grey(40, 200)
    picture[3, 3] = 0  # black, which has no hue to keep
    opened = Image.fromarray(picture)
    for name, strength, expected in (
        ("autocontrast", 1.0, ImageOps.autocontrast(opened)),
        ("equalize", 1.0, ImageOps.equalize(opened)),
        ("sharpness", -1.0, ImageEnhance.Sharpness(opened).enhance(0.1)),
        ("sharpness", 0.5, ImageEnhance.Sharpness(opened).enhance(1.45)),
    ):
        away = operated(name, picture, strength) - np.asarray(expected).astype(int)
        assert np.abs(away).max() <= 1


@pytest.mark.parametrize(
    ("strength", "expected"),
    [
        (-1.0, (25, 13, 0)),  # a tenth
        (0.5, (255, 131, 5)),  # 1.45 times, but red ends at 255 and the others with it
        (-0.5, (137, 70, 3)),
    ],
)
def test_brightness_is_a_factor_within_the_range(
    strength: float, expected: tuple[int, ...]
) -> None:
    picture = np.full((4, 4, 3), ORANGE, dtype=np.uint8)
    changed = operated("brightness", picture, strength)
    assert np.abs(changed - np.array(expected)).max() <= 1


def hue(pixel: np.ndarray) -> float:
    return colorsys.rgb_to_hsv(*(pixel / 255).tolist())[0] * 360


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_no_operation_changes_a_hue(name: str) -> None:
    """Rounding moves the hues of dark pixels, so that only the others are compared."""
    bands = ((2, ORANGE), (7, NAVY), (12, PINK))
    picture = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    for top, colour in bands:
        picture[top : top + 5] = colour
    for strength in (-0.7, 0.5, 1.0):
        changed = operated(name, picture, strength)
        for top, colour in bands:
            pixels = changed[top + 1 : top + 4, 9:12].reshape(-1, 3).astype(int)
            coloured = pixels[np.ptp(pixels, axis=1) > 20]
            assert len(coloured) > 4
            assert all(abs(hue(pixel) - hue(np.array(colour))) < 2 for pixel in coloured)


def warped(picture: np.ndarray, backward: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """What stands at each place came from `backward @ (place - centre - shift) + centre`.

    Between pixels their values are mixed in proportion; 128 stands outside.
    """
    out = np.empty(picture.shape)
    padded = np.pad(picture.astype(float), ((1, 1), (1, 1), (0, 0)), constant_values=128)
    last = len(picture)
    centre = (last - 1) / 2
    for row in range(last):
        for column in range(last):
            place = np.array([column - centre - shift[0], row - centre - shift[1]])
            x, y = np.clip(backward @ place + centre + 1, 0, last + 1)
            left, top = min(math.floor(x), last), min(math.floor(y), last)
            dx, dy = x - left, y - top
            out[row, column] = (
                (1 - dy) * (1 - dx) * padded[top, left]
                + (1 - dy) * dx * padded[top, left + 1]
                + dy * (1 - dx) * padded[top + 1, left]
                + dy * dx * padded[top + 1, left + 1]
            )
    return out


@pytest.mark.parametrize("strength", [1.0, -0.5])
@pytest.mark.parametrize("name", ["shear_x", "shear_y", "rotate", "translate_x", "translate_y"])
def test_moved_pictures_are_those_of_a_slow_loop(name: str, strength: float) -> None:
    picture = noise(1)[0]
    slope, angle = 0.3 * strength, math.radians(30 * strength)
    step = SIDE * strength * 10 / 384
    backward = {
        "shear_x": np.array([[1, slope], [0, 1]]),
        "shear_y": np.array([[1, 0], [slope, 1]]),
        "rotate": np.array(
            [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
        ),
    }.get(name, np.eye(2))
    shift = {"translate_x": (step, 0.0), "translate_y": (0.0, step)}.get(name, (0.0, 0.0))
    expected = warped(picture, backward, shift)
    assert np.abs(operated(name, picture, strength) - expected).max() < 1.01


def test_full_translation_of_384_pixels_is_ten() -> None:
    picture = noise(1, side=384)[0]
    moved = operated("translate_x", picture, 1.0)
    assert np.array_equal(moved[:, 10:], picture[:, :-10])
    assert (moved[:, :10] == 128).all()


def test_the_same_generator_makes_the_same_pictures() -> None:
    images = noise(8)
    fields = {"crop_scale": [0.5, 1.0], "horizontal_flip": True}
    first = augmented(images, seed=5, **fields)
    assert first.shape == images.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, augmented(images, seed=5, **fields))
    assert not np.array_equal(first, augmented(images, seed=6, **fields))


def test_half_of_the_drawn_operations_are_applied() -> None:
    images = noise(1000, 50, 200)  # equalizing changes nothing below 256 pixels
    for operations in (1, 3):
        made = augmented(images, operations=operations, magnitude=10)
        same = (made == images).reshape(len(images), -1).all(axis=1).mean()
        expected = (1 - 0.5 * 0.9) ** operations  # one operation of ten is identity
        assert abs(same - expected) < 4 * math.sqrt(expected * (1 - expected) / len(images))


def test_what_is_left_out_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def noting(name: str) -> Any:
        return lambda picture, strength: seen.append(name) or picture

    kinds = {name: noting(name) for name in ("one", "other", "third")}
    monkeypatch.setattr("mmrobust.augment.randaugment.OPERATIONS", kinds)
    augmented(noise(60), leave_out=["other"])
    assert set(seen) == {"one", "third"}


def test_magnitude_is_a_tenth_of_the_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[float] = set()

    def note(picture: Any, strength: float) -> Any:
        seen.add(strength)
        return picture

    monkeypatch.setattr("mmrobust.augment.randaugment.OPERATIONS", {"note": note})
    augmented(noise(30), magnitude=7)
    assert seen == {-0.7, 0.7}


def test_half_of_the_pictures_are_mirrored_and_only_if_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mmrobust.augment.randaugment.OPERATIONS", {"same": lambda p, s: p})
    images = noise(400, side=5)
    assert np.array_equal(augmented(images), images)
    made = augmented(images, horizontal_flip=True)
    flipped = (made == images[:, :, ::-1]).reshape(400, -1).all(axis=1)
    kept = (made == images).reshape(400, -1).all(axis=1)
    assert (flipped ^ kept).all()
    assert 150 < flipped.sum() < 250


def test_crops_keep_a_share_of_the_area() -> None:
    """Of a picture whose channels are its coordinates, ends tell what was kept."""
    side = 200
    ramp = np.arange(side, dtype=np.uint8)
    picture = np.zeros((side, side, 3), dtype=np.uint8)
    picture[:, :, 0], picture[:, :, 1] = ramp[None, :], ramp[:, None]
    rng = np.random.default_rng(0)
    shares, ratios, corners = [], [], []
    for _ in range(200):
        crop = random_crop(torch.tensor(picture).permute(2, 0, 1), rng, (0.25, 0.5)).int()
        assert crop.shape == (3, side, side)
        width, height = (int(crop[channel, -1, -1] - crop[channel, 0, 0]) + 1 for channel in (0, 1))
        shares.append(width * height / side**2)
        ratios.append(width / height)
        corners.append(int(crop[0, 0, 0]))
    assert 0.23 < min(shares) < 0.28
    assert 0.46 < max(shares) < 0.52
    assert 0.72 < min(ratios) < 0.8
    assert 1.25 < max(ratios) < 1.38
    assert min(corners) < 5
    assert max(corners) > 80


def test_a_crop_is_enlarged_bicubically() -> None:
    picture = noise(1, side=32)[0]
    scale = (1 / 4, 1 / 4)
    seen = random_crop(
        torch.tensor(picture).permute(2, 0, 1), np.random.default_rng(4), scale
    ).permute(1, 2, 0)
    opened = Image.fromarray(picture)
    found = [
        (left, top, width, height)
        for width in range(13, 20)
        for height in range(13, 20)
        for left in range(33 - width)
        for top in range(33 - height)
        if np.abs(
            np.asarray(
                opened.crop((left, top, left + width, top + height)).resize(
                    (32, 32), Image.Resampling.BICUBIC
                )
            ).astype(int)
            - seen.numpy()
        ).max()
        <= 2
    ]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop_scale": [0.9, 0.5]}, r"crop_scale: must be two shares .*\(got 0.9, 0.5\)"),
        ({"crop_scale": [0.0, 0.5]}, r"crop_scale: must be two shares .*\(got 0.0, 0.5\)"),
        ({"crop_scale": [0.5, 1.5]}, r"randaugment.crop_scale.1: .*less than or equal to 1"),
        ({"magnitude": 11}, r"randaugment.magnitude: .*less than or equal to 10"),
        ({"operations": 0}, r"randaugment.operations: "),
        ({"leave_out": ["shear"]}, r"leave_out: 'shear'; .*shear_x"),
        ({"leave_out": list(OPERATIONS)}, r"leave_out: must leave an operation to draw"),
    ],
)
def test_impossible_fields_are_told(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_augmenter({"method": "randaugment", **fields})


def test_it_augments_a_dataset(augment: Augment) -> None:
    made = augment("randaugment", n=1)
    assert made.images.shape == (300, 24, 24, 3)
    assert (made.items["true"] == -1).all()
