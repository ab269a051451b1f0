"""Knobs on the training captions, each turned without touching what the others set."""

from __future__ import annotations

import numpy as np

from mmrobust.data.scenes.scene import SceneArrays
from mmrobust.data.scenes.truth import are_true
from mmrobust.errors import UserError


def repeat_captions(captions: list[str], *, per_scene: int, distinct: int) -> list[str]:
    """Keep the first `distinct` captions of each scene and repeat them in place of the rest.

    Args:
        captions: N * per_scene captions, scene by scene.
        per_scene: captions of a scene.
        distinct: in 1..per_scene.
    """
    return [
        captions[start + i % distinct]
        for start in range(0, len(captions), per_scene)
        for i in range(per_scene)
    ]


def misalign_captions(
    captions: list[str], scenes: SceneArrays, rng: np.random.Generator, *, share: float
) -> list[str]:
    """Replace a share of the captions by captions of other scenes that are false of their own.

    Args:
        captions: C true captions.
        scenes: C scenes, the one of each caption.
        rng: source of the choice. The same state and a larger share replace the same captions
            and more.
        share: in 0..1; `round(share * C)` captions are replaced.

    Raises:
        UserError: no caption was found that is false of a scene.
    """
    out = list(captions)
    todo = rng.permutation(len(captions))[: round(share * len(captions))]
    for _ in range(1000):
        if len(todo) == 0:
            return out
        donors = rng.integers(len(captions), size=len(todo))
        spoken = [captions[donor] for donor in donors.tolist()]
        true = are_true(spoken, scenes.take(todo))
        for row, caption, keeps in zip(todo.tolist(), spoken, true.tolist(), strict=True):
            if not keeps:
                out[row] = caption
        todo = todo[true]
    raise UserError(
        f"misalignment: {share} is impossible, {len(todo)} captions have no false replacement "
        f"among {len(captions)}; raise splits.train or set it to 0"
    )
