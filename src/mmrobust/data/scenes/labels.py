"""Labelled pairs in which each modality carries a chosen share of the label.

The label of a pair is an attribute of the one large object. The image scene and the caption
scene are drawn apart and share nothing but the label, and only where they carry it: how much a
classifier can learn from either modality is set by two numbers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from mmrobust.data.scenes.scene import IntArray, SceneArrays, draw_scenes
from mmrobust.data.scenes.vocabulary import COLOURS, SHAPES, SIZES
from mmrobust.errors import UserError

Attribute = Literal["colour", "shape"]

_N_CLASSES = {"colour": len(COLOURS), "shape": len(SHAPES)}


class LabelledScenes(NamedTuple):
    """n pairs; in every scene slot 0 holds the large object and all others are small."""

    image_scenes: SceneArrays
    caption_scenes: SceneArrays
    labels: IntArray
    """(n,) in 0..7, index into `COLOURS` or `SHAPES`."""


def draw_labelled(
    n: int,
    *,
    image_label_share: float,
    text_label_share: float,
    rng: np.random.Generator,
    attribute: Attribute = "colour",
) -> LabelledScenes:
    """Draw `n` labelled pairs of an image scene and a caption scene.

    Captions spoken with `detail` 1 name the size of every object and so tell which one is meant.

    Args:
        n: number of pairs.
        image_label_share: in 0..1; probability that the large object of the image scene has the
            label as its attribute. Otherwise its attribute is drawn without regard to the label.
        text_label_share: the same for the caption scene.
        rng: source of all choices.
        attribute: what the label names, `colour` or `shape`.

    Raises:
        UserError: an argument is out of its range.
    """
    for name, share in [
        ("image_label_share", image_label_share),
        ("text_label_share", text_label_share),
    ]:
        if not 0 <= share <= 1:
            raise UserError(f"{name}: {share!r} is not a number in 0..1")
    if attribute not in _N_CLASSES:
        raise UserError(f"attribute: {attribute!r} is not one of {', '.join(_N_CLASSES)}")
    labels = rng.integers(_N_CLASSES[attribute], size=n)
    scenes = []
    for share in (image_label_share, text_label_share):
        other = rng.integers(_N_CLASSES[attribute], size=n)
        values = np.where(rng.random(n) < share, labels, other)
        scenes.append(_scenes_about(values, attribute, rng))
    return LabelledScenes(scenes[0], scenes[1], labels)


def _scenes_about(values: IntArray, attribute: Attribute, rng: np.random.Generator) -> SceneArrays:
    """Scenes whose one large object, in slot 0, has the attribute `values` (n,)."""
    scenes = draw_scenes(len(values), rng)
    drawn: IntArray = getattr(scenes, attribute)
    # An object that has the value already takes the one that slot 0 gives up.
    swapped = np.where(drawn == values[:, None], drawn[:, :1], drawn)
    swapped[:, 0] = values
    size = np.where(scenes.size < 0, -1, SIZES.index("small"))
    size[:, 0] = SIZES.index("large")
    if attribute == "colour":
        return replace(scenes, colour=swapped, size=size)
    return replace(scenes, shape=swapped, size=size)
