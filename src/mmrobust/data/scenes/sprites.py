"""Anti-aliased masks of the shapes, at both sizes and at every quarter-pixel offset."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mmrobust.data.scenes.scene import GRID
from mmrobust.data.scenes.vocabulary import SHAPES, SIZES

FloatArray = npt.NDArray[np.float32]
_Plane = npt.NDArray[np.float64]

JITTER = 0.06
"""Largest shift of an object from the middle of its cell, in cells, on either axis."""
STEPS = 4
"""Positions of a sprite within one pixel, on either axis."""
_RADIUS = (0.3, 0.5 - JITTER)
"""Radius of a small and of a large object, in cells: neighbours never touch."""
_RIM = 0.13
"""Width of the darker rim, as a share of the radius."""
_SAMPLES = 8
"""Samples of a mask within one pixel, on either axis; a multiple of `STEPS`."""


def patch_size(image_size: int) -> int:
    """Side of the square patch that holds any sprite at any offset, in pixels (even)."""
    return 2 * (int(np.ceil(_RADIUS[-1] * image_size / GRID)) + 1)


@lru_cache(maxsize=4)
def sprites(image_size: int) -> FloatArray:
    """Masks of all objects in images of side `image_size`.

    Returns:
        (shapes, sizes, STEPS, STEPS, 2, P, P) in 0..1, read-only: at row offset i / STEPS and
        column offset j / STEPS of a pixel from the middle of the patch, the share of each pixel
        that the object covers (0) and that its rim covers (1).
    """
    side = patch_size(image_size)
    out = np.empty((len(SHAPES), len(SIZES), STEPS, STEPS, 2, side, side), dtype=np.float32)
    middle = side * _SAMPLES / 2
    axis = np.arange(side * _SAMPLES) + 0.5 - middle
    for size, cells in enumerate(_RADIUS):
        radius = cells * image_size / GRID * _SAMPLES
        v, u = np.meshgrid(axis / radius, axis / radius, indexing="ij")
        for shape, name in enumerate(SHAPES):
            body = _inside(name, u, v)
            rim = body & (ndimage.distance_transform_edt(body) <= _RIM * radius)
            for i in range(STEPS):
                for j in range(STEPS):
                    shift = (i * _SAMPLES // STEPS, j * _SAMPLES // STEPS)
                    masks = np.roll(np.stack([body, rim]), shift, axis=(1, 2))
                    boxes = masks.reshape(2, side, _SAMPLES, side, _SAMPLES)
                    out[shape, size, i, j] = boxes.mean(axis=(2, 4))
    out.flags.writeable = False
    return out


def _inside(shape: str, u: _Plane, v: _Plane) -> npt.NDArray[np.bool_]:
    """Where a shape of radius 1 is, at `u` to the right and `v` below its middle."""
    r = np.hypot(u, v)
    flat, tall = np.abs(u), np.abs(v)
    match shape:
        case "circle":
            return r <= 0.92
        case "square":
            return np.maximum(flat, tall) <= 0.84
        case "triangle":
            return (v <= 0.82) & (flat <= (v + 0.98) * 0.55)
        case "diamond":
            return flat / 0.72 + tall <= 1
        case "cross":
            return (np.minimum(flat, tall) <= 0.31) & (np.maximum(flat, tall) <= 0.95)
        case "star":
            return r <= _star_radius(u, v, inner=0.42)
        case "ring":
            return (r <= 0.97) & (r >= 0.5)
        case "crescent":
            return (r <= 0.97) & (np.hypot(u - 0.5, v + 0.12) >= 0.72)
    raise AssertionError(f"shape {shape!r} has no outline")


def _star_radius(u: _Plane, v: _Plane, *, inner: float) -> _Plane:
    """Radius of a five-pointed star, tip up, in the direction of (u, v); its tips are at 1."""
    half = np.pi / 5
    turn = np.arctan2(u, -v) % (2 * half)
    turn = np.minimum(turn, 2 * half - turn)
    edge: _Plane = inner * np.sin(half) / (np.sin(turn) + inner * np.sin(half - turn))
    return edge
