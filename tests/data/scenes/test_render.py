from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmrobust.data.scenes.render import render
from mmrobust.data.scenes.scene import SceneArrays, draw_scenes
from mmrobust.data.scenes.sprites import sprites
from mmrobust.data.scenes.vocabulary import BACKGROUNDS, COLOURS, SHAPES, SIZES


def one_object(n: int, **values: np.ndarray) -> SceneArrays:
    """n scenes of one large red circle in the middle, with `values` in its place."""
    base = {"shape": 0, "colour": 0, "size": 1, "column": 1, "row": 1}
    slots = {name: np.tile([value, -1, -1], (n, 1)) for name, value in base.items()}
    background = values.pop("background", np.zeros(n, dtype=np.int64))
    for name, column in values.items():
        slots[name][:, 0] = column
    return SceneArrays(n_objects=np.ones(n, dtype=np.int64), background=background, **slots)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference of images (H, W, 3) in any channel, averaged over 3x3 pixels."""
    gap = a.astype(float) - b.astype(float)
    windows = np.lib.stride_tricks.sliding_window_view(gap, (3, 3), axis=(0, 1))
    return float(np.abs(windows.mean(axis=(-1, -2))).max())


@pytest.mark.parametrize("image_size", [24, 40, 65])
def test_images_have_the_asked_size(image_size):
    scenes = draw_scenes(10, np.random.default_rng(0))
    images = render(scenes, np.random.default_rng(1), image_size=image_size, pixel_noise=0.02)
    assert images.shape == (10, image_size, image_size, 3)
    assert images.dtype == np.uint8
    again = render(scenes, np.random.default_rng(1), image_size=image_size, pixel_noise=0.02)
    np.testing.assert_array_equal(images, again)


@pytest.mark.parametrize("style_shift", [0.0, 1.0])
@pytest.mark.parametrize(
    ("attribute", "n"),
    [
        ("shape", len(SHAPES)),
        ("colour", len(COLOURS)),
        ("size", len(SIZES)),
        ("background", len(BACKGROUNDS)),
        ("column", 3),
        ("row", 3),
    ],
)
def test_values_differ_by_far_more_than_noise(attribute, n, style_shift):
    scenes = one_object(n, **{attribute: np.arange(n)})

    def draw(scenes: SceneArrays) -> np.ndarray:
        # Each alone: the same state gives all the same jitter, tint and noise.
        return np.concatenate(
            [
                render(
                    scenes.take(slice(i, i + 1)),
                    np.random.default_rng(5),
                    image_size=40,
                    pixel_noise=0.02,
                    style_shift=style_shift,
                )
                for i in range(n)
            ]
        )

    images = draw(scenes)
    clean = render(one_object(1), np.random.default_rng(5), image_size=40, pixel_noise=0.0)
    noisy = render(one_object(1), np.random.default_rng(5), image_size=40, pixel_noise=0.02)
    floor = distance(clean[0], noisy[0])
    for i in range(n):
        for j in range(i):
            assert distance(images[i], images[j]) > 4 * floor, (attribute, i, j)


def test_renderings_of_one_scene_differ_a_little():
    scenes = draw_scenes(1, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    first, second = (
        render(scenes, rng, image_size=40, pixel_noise=0.02)[0].astype(float) for _ in range(2)
    )
    assert 0 < np.abs(first - second).mean() < 20


def test_objects_are_where_the_scene_says():
    n = 9
    scenes = one_object(n, column=np.arange(n) % 3, row=np.arange(n) // 3)
    images = render(scenes, np.random.default_rng(0), image_size=48, pixel_noise=0.0)
    redness = images[..., 0].astype(float) - images[..., 2]
    cells = redness.reshape(n, 3, 16, 3, 16).mean(axis=(2, 4)).reshape(n, 9)
    np.testing.assert_array_equal(cells.argmax(axis=1), np.arange(n))


def test_objects_never_overlap():
    scenes = draw_scenes(300, np.random.default_rng(0))
    full = scenes.take(scenes.n_objects == 3)
    alone = []
    for slot in range(3):
        kept = {
            name: np.where(np.arange(3) == 0, getattr(full, name)[:, [slot]], -1)
            for name in ("shape", "colour", "size", "column", "row")
        }
        single = replace(full, n_objects=np.ones_like(full.n_objects), **kept)
        drawn = render(single, np.random.default_rng(slot), image_size=40).astype(int)
        ground = render(
            replace(single, n_objects=np.zeros_like(full.n_objects)),
            np.random.default_rng(slot),
            image_size=40,
        )
        alone.append(np.abs(drawn - ground).max(axis=-1) > 40)
    assert all(mask.any(axis=(1, 2)).all() for mask in alone)
    overlap = (alone[0] & alone[1]) | (alone[0] & alone[2]) | (alone[1] & alone[2])
    assert overlap.mean() < 1e-3  # two rims may share the pixel between them


def test_style_shift_moves_colours_and_texture_only():
    scenes = one_object(4, background=np.arange(4))
    plain, half, full = (
        render(scenes, np.random.default_rng(0), image_size=40, style_shift=style).astype(float)
        for style in (0.0, 0.5, 1.0)
    )
    assert 0 < np.abs(plain - half).mean() < np.abs(plain - full).mean() < 60


def test_sprites_are_masks_that_share_their_area_between_offsets():
    masks = sprites(40)
    assert masks.min() == 0
    assert masks.max() == 1
    body, rim = masks[..., 0, :, :], masks[..., 1, :, :]
    assert (rim <= body).all()
    area = body.sum(axis=(-1, -2))
    np.testing.assert_allclose(area, np.broadcast_to(area[:, :, :1, :1], area.shape), rtol=1e-4)
    assert (area[:, 1] > 1.8 * area[:, 0]).all()
