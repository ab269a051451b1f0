"""Whether a caption holds of a scene: exactly, for one pair and for whole galleries.

A caption claims that the objects it mentions exist with the attributes it names, that they
stand in the relations it names and that the background is the one it names.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from mmrobust.data.scenes.grammar import Mention, Proposition, Propositions, parse, parse_all
from mmrobust.data.scenes.scene import (
    ABOVE,
    BELOW,
    LEFT,
    MAX_OBJECTS,
    RIGHT,
    IntArray,
    Scene,
    SceneArrays,
    SceneObject,
    relations,
)
from mmrobust.data.scenes.vocabulary import COLOURS, SHAPES

BoolArray = npt.NDArray[np.bool_]


def is_true(caption: str, scene: Scene) -> bool:
    """Whether `caption` holds of `scene`; false if the grammar cannot read it."""
    proposition = parse(caption)
    return proposition is not None and holds(proposition, scene)


def holds(proposition: Proposition, scene: Scene) -> bool:
    """Whether some choice of objects makes every part of `proposition` true."""
    if proposition.background not in (-1, scene.background):
        return False
    fitting = [[o for o in scene.objects if _fits(o, m)] for m in proposition.mentions]
    return any(
        all(
            link == -1 or link == _relation(first, second)
            for link, first, second in zip(proposition.links, chosen, chosen[1:], strict=False)
        )
        for chosen in itertools.product(*fitting)
    )


def _fits(item: SceneObject, mention: Mention) -> bool:
    named = (item.colour, item.shape) == (mention.colour, mention.shape)
    return named and mention.size in (-1, item.size)


def _relation(first: SceneObject, second: SceneObject) -> int:
    """What `first` is to `second`, -1 for an object and itself."""
    dx, dy = first.column - second.column, first.row - second.row
    if abs(dx) == abs(dy):
        return -1
    if abs(dx) > abs(dy):
        return LEFT if dx < 0 else RIGHT
    return ABOVE if dy < 0 else BELOW


def are_true(captions: Sequence[str], scenes: SceneArrays) -> BoolArray:
    """(C,) whether each caption holds of the scene at the same position.

    Args:
        captions: C captions.
        scenes: C scenes.
    """
    if len(captions) != len(scenes):
        raise ValueError(f"{len(captions)} captions for {len(scenes)} scenes")
    return _Index(scenes).check(parse_all(captions), np.arange(len(scenes)), np.arange(len(scenes)))


def positives_matrix(captions: Sequence[str], scenes: SceneArrays) -> sparse.csr_array:
    """Which caption holds of which scene.

    Args:
        captions: C captions; one that the grammar cannot read gives an empty row.
        scenes: N scenes.

    Returns:
        (C, N) boolean CSR array with sorted indices.
    """
    read = parse_all(captions)
    index = _Index(scenes)
    pairs = [index.candidates(read, kind) for kind in range(len(COLOURS) * len(SHAPES))]
    rows = np.concatenate([row for row, _ in pairs])
    columns = np.concatenate([column for _, column in pairs])
    true = index.check(read, rows, columns)
    rows, columns = rows[true], columns[true]
    order = np.lexsort((columns, rows))
    counts = np.bincount(rows, minlength=len(captions))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    entries = (np.ones(len(order), dtype=bool), columns[order].astype(np.int32), starts)
    return sparse.csr_array(entries, shape=(len(captions), len(scenes)))


class _Index:
    """Tables of N scenes for looking up objects by colour, which is unique within a scene."""

    def __init__(self, scenes: SceneArrays) -> None:
        self.scenes = scenes
        self.relations = relations(scenes)
        present = scenes.colour >= 0
        row, slot = np.nonzero(present)
        colour, shape = scenes.colour[present], scenes.shape[present]
        self.slot = np.full((len(scenes), len(COLOURS)), -1)
        self.slot[row, colour] = slot
        # One row for each colour and shape; the last one, for "no mention", is true everywhere.
        self.has = np.zeros((len(COLOURS) * len(SHAPES) + 1, len(scenes)), dtype=bool)
        self.has[colour * len(SHAPES) + shape, row] = True
        self.has[-1] = True

    def candidates(self, read: Propositions, kind: int) -> tuple[IntArray, IntArray]:
        """Captions whose first mention is of `kind`, paired with scenes of the same objects."""
        kinds = np.where(read.colour < 0, -1, read.colour * len(SHAPES) + read.shape)
        rows = np.flatnonzero(read.valid & (kinds[:, 0] == kind))
        columns = np.flatnonzero(self.has[kind])
        has = self.has[:, columns]
        caption, scene = np.nonzero(has[kinds[rows, 1]] & has[kinds[rows, 2]])
        return rows[caption], columns[scene]

    def check(self, read: Propositions, rows: IntArray, columns: IntArray) -> BoolArray:
        """(P,) whether proposition `rows[p]` holds of scene `columns[p]`."""
        background = read.background[rows]
        true: BoolArray = read.valid[rows] & (
            (background < 0) | (background == self.scenes.background[columns])
        )
        colour = read.colour[rows]
        slot = self.slot[columns[:, None], colour]
        found = self.scenes.shape[columns[:, None], slot] == read.shape[rows]
        size = read.size[rows]
        fits = (size < 0) | (size == self.scenes.size[columns[:, None], slot])
        true &= ((colour < 0) | ((slot >= 0) & found & fits)).all(axis=1)
        for first in range(MAX_OBJECTS - 1):
            link = read.link[rows, first]
            actual = self.relations[columns, slot[:, first], slot[:, first + 1]]
            true &= (link < 0) | (link == actual)
        return true
