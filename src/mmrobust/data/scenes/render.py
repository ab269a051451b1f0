"""Pictures of scenes, drawn in batches.

A rendering adds what a caption never tells: where in its cell an object sits, a tint of each
colour, an uneven background and pixel noise. Each call draws them anew.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmrobust.data.scenes.scene import GRID, MAX_OBJECTS, SceneArrays
from mmrobust.data.scenes.sprites import JITTER, STEPS, FloatArray, patch_size, sprites
from mmrobust.data.scenes.vocabulary import BACKGROUNDS, COLOURS

_COLOURS = {
    "red": (0.86, 0.14, 0.16), "orange": (0.98, 0.50, 0.05), "yellow": (0.98, 0.87, 0.12),
    "green": (0.15, 0.62, 0.22), "cyan": (0.15, 0.80, 0.86), "blue": (0.13, 0.29, 0.86),
    "purple": (0.56, 0.22, 0.80), "pink": (0.98, 0.52, 0.76),
}  # fmt: skip
_SHIFTED_COLOURS = {
    "red": (0.66, 0.20, 0.10), "orange": (0.84, 0.58, 0.26), "yellow": (0.80, 0.84, 0.36),
    "green": (0.28, 0.56, 0.42), "cyan": (0.42, 0.74, 0.88), "blue": (0.28, 0.26, 0.70),
    "purple": (0.62, 0.26, 0.58), "pink": (0.90, 0.60, 0.62),
}  # fmt: skip
_BACKGROUNDS = {
    "dark": (0.11, 0.12, 0.17), "grey": (0.50, 0.51, 0.53), "beige": (0.80, 0.70, 0.54),
    "light": (0.95, 0.95, 0.93),
}  # fmt: skip
_SHIFTED_BACKGROUNDS = {
    "dark": (0.17, 0.12, 0.10), "grey": (0.44, 0.48, 0.46), "beige": (0.76, 0.62, 0.52),
    "light": (0.88, 0.93, 0.96),
}  # fmt: skip

_RIM_SHADE = 0.58
_TINT = 0.025
"""Standard deviation of an object's colour between renderings."""
_CLOUDS = 0.025
"""Standard deviation of the background's slow changes of brightness."""
_CLOUD_CELLS = 5
_STRIPES = 0.08
"""Height of the stripes of a fully shifted style."""
_CHUNK = 256


def render(
    scenes: SceneArrays,
    rng: np.random.Generator,
    *,
    image_size: int,
    pixel_noise: float = 0.0,
    style_shift: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """Render N scenes.

    Args:
        scenes: N scenes.
        rng: source of jitter, tint, texture and noise.
        image_size: side of the images in pixels, at least 24.
        pixel_noise: standard deviation of the noise, as a share of the brightness range.
        style_shift: in 0..1; moves the palette and turns the even background to stripes.

    Returns:
        (N, image_size, image_size, 3) RGB.
    """
    out = np.empty((len(scenes), image_size, image_size, 3), dtype=np.uint8)
    for start in range(0, len(scenes), _CHUNK):
        rows = slice(start, start + _CHUNK)
        canvas = _draw(scenes.take(rows), rng, image_size, style_shift)
        canvas += pixel_noise * rng.standard_normal(canvas.shape, dtype=np.float32)
        out[rows] = np.clip(canvas * 255.0 + 0.5, 0.0, 255.0)
    return out


def _draw(
    scenes: SceneArrays, rng: np.random.Generator, image_size: int, style_shift: float
) -> FloatArray:
    """(N, image_size, image_size, 3) float32, about 0..1: background and objects, no noise."""
    margin = patch_size(image_size)
    side = image_size + 2 * margin
    canvas = np.zeros((len(scenes), side, side, 3), dtype=np.float32)
    inner = canvas[:, margin:-margin, margin:-margin]
    tones = _palette(_BACKGROUNDS, _SHIFTED_BACKGROUNDS, BACKGROUNDS, style_shift)
    inner[:] = tones[scenes.background][:, None, None, :]
    inner += _texture(len(scenes), rng, image_size, style_shift)[..., None]
    colours = _palette(_COLOURS, _SHIFTED_COLOURS, COLOURS, style_shift)
    shape = (len(scenes), MAX_OBJECTS)
    tint = _TINT * rng.standard_normal((*shape, 3), dtype=np.float32)
    jitter = rng.uniform(-JITTER, JITTER, size=(*shape, 2))
    cells = np.stack([scenes.row, scenes.column], axis=-1) + 0.5 + jitter
    places = np.round(cells * (STEPS * image_size / GRID)).astype(np.int64)
    for slot in range(MAX_OBJECTS):
        here = np.flatnonzero(scenes.n_objects > slot)
        base, step = np.divmod(places[here, slot], STEPS)
        masks = sprites(image_size)[
            scenes.shape[here, slot], scenes.size[here, slot], step[:, 0], step[:, 1]
        ]
        rgb = (colours[scenes.colour[here, slot]] + tint[here, slot])[:, None, None, :]
        body, rim = masks[:, 0, :, :, None], masks[:, 1, :, :, None]
        span = np.arange(margin) + margin // 2
        ys = (base[:, :1] + span)[:, :, None]
        xs = (base[:, 1:] + span)[:, None, :]
        patch = canvas[here[:, None, None], ys, xs]
        patch += body * (rgb - patch) - rim * ((1 - _RIM_SHADE) * rgb)
        canvas[here[:, None, None], ys, xs] = patch
    return inner


def _palette(
    base: dict[str, tuple[float, float, float]],
    shifted: dict[str, tuple[float, float, float]],
    names: tuple[str, ...],
    style_shift: float,
) -> FloatArray:
    """(names, 3) colours in 0..1, a share `style_shift` of the way to the shifted ones."""
    start = np.array([base[name] for name in names], dtype=np.float32)
    end = np.array([shifted[name] for name in names], dtype=np.float32)
    return start + np.float32(style_shift) * (end - start)


def _texture(n: int, rng: np.random.Generator, image_size: int, style_shift: float) -> FloatArray:
    """(n, image_size, image_size) brightness added to the background: clouds and stripes."""
    knots = rng.standard_normal((n, _CLOUD_CELLS + 1, _CLOUD_CELLS + 1), dtype=np.float32)
    place = (np.arange(image_size, dtype=np.float32) + 0.5) / image_size * _CLOUD_CELLS
    left = place.astype(np.int64)
    share = (place - left).astype(np.float32)
    rows = knots[:, left] + share[:, None] * (knots[:, left + 1] - knots[:, left])
    share = share[None, None, :]
    clouds = rows[:, :, left] + share * (rows[:, :, left + 1] - rows[:, :, left])
    turn = rng.uniform(0, np.pi, size=(n, 1, 1)).astype(np.float32)
    phase = rng.uniform(0, 2 * np.pi, size=(n, 1, 1)).astype(np.float32)
    if style_shift == 0:
        return _CLOUDS * clouds
    axis = np.arange(image_size, dtype=np.float32) * (2 * np.pi * 7 / image_size)
    wave = np.sin(axis[:, None] * np.sin(turn) + axis * np.cos(turn) + phase)
    stripes: FloatArray = (_STRIPES * style_shift * wave).astype(np.float32)
    return _CLOUDS * clouds + stripes
