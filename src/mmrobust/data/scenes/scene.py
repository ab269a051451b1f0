"""Scene graphs: one to three objects on a coarse grid, drawn in batches.

Within a scene all shapes differ and all colours differ, so a colour and a shape name one object.
Two objects never lie on a diagonal of the grid: the axis on which they are further apart is
unambiguous, and exactly one of left, right, above, below holds between them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields
from functools import cache

import numpy as np
import numpy.typing as npt

from mmrobust.data.scenes.vocabulary import BACKGROUNDS, COLOURS, SHAPES, SIZES

IntArray = npt.NDArray[np.int64]

MAX_OBJECTS = 3
GRID = 3
"""Columns and rows of the grid of places."""
OBJECT_MIX = (0.05, 0.65, 0.3)
"""Probability of a scene with one, two and three objects."""
LEFT, RIGHT, ABOVE, BELOW = range(4)


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """One object: indices into the vocabulary and its place (row 0 is the top)."""

    shape: int
    colour: int
    size: int
    column: int
    row: int


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One scene in plain Python, for reading and for checking one pair at a time."""

    objects: tuple[SceneObject, ...]
    background: int


@dataclass(frozen=True, kw_only=True)
class SceneArrays:
    """N scenes as int64 arrays; the slots past a scene's last object hold -1.

    Attributes:
        n_objects: (N,) in 1..3.
        shape: (N, 3) index into `SHAPES`; distinct within a scene.
        colour: (N, 3) index into `COLOURS`; distinct within a scene.
        size: (N, 3) index into `SIZES`.
        column: (N, 3) in 0..2, from the left.
        row: (N, 3) in 0..2, from the top.
        background: (N,) index into `BACKGROUNDS`.
    """

    n_objects: IntArray
    shape: IntArray
    colour: IntArray
    size: IntArray
    column: IntArray
    row: IntArray
    background: IntArray

    def __len__(self) -> int:
        return len(self.n_objects)

    def __getitem__(self, index: int) -> Scene:
        columns = (self.shape, self.colour, self.size, self.column, self.row)
        objects = tuple(
            SceneObject(shape=shape, colour=colour, size=size, column=column, row=row)
            for shape, colour, size, column, row in zip(
                *(values[index, : self.n_objects[index]].tolist() for values in columns),
                strict=True,
            )
        )
        return Scene(objects=objects, background=int(self.background[index]))

    def take(self, rows: npt.NDArray[np.integer | np.bool_] | slice) -> SceneArrays:
        """The scenes of `rows` (indices, a mask or a slice), in that order."""
        return SceneArrays(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def put(self, rows: IntArray, scenes: SceneArrays) -> SceneArrays:
        """These scenes with others at `rows`."""
        arrays = {f.name: getattr(self, f.name).copy() for f in fields(self)}
        for name, array in arrays.items():
            array[rows] = getattr(scenes, name)
        return SceneArrays(**arrays)


def concatenate(parts: list[SceneArrays]) -> SceneArrays:
    """One batch of all scenes of `parts`, in order; `parts` is not empty."""
    names = [f.name for f in fields(SceneArrays)]
    return SceneArrays(
        **{name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
    )


def relation(dx: IntArray, dy: IntArray) -> IntArray:
    """What an object is to another from which it lies (dx, dy) away; -1 where none holds.

    Args:
        dx: columns to the right of the other object, any shape.
        dy: rows below the other object, same shape.
    """
    horizontal = np.where(dx < 0, LEFT, RIGHT)
    vertical = np.where(dy < 0, ABOVE, BELOW)
    dominant = np.where(np.abs(dx) > np.abs(dy), horizontal, vertical)
    return np.where(np.abs(dx) == np.abs(dy), -1, dominant)


def relations(scenes: SceneArrays) -> IntArray:
    """(N, 3, 3): what the object of slot i is to that of slot j; -1 if either is missing."""
    dx = scenes.column[:, :, None] - scenes.column[:, None, :]
    dy = scenes.row[:, :, None] - scenes.row[:, None, :]
    present = scenes.shape >= 0
    return np.where(present[:, :, None] & present[:, None, :], relation(dx, dy), -1)


def graph_keys(scenes: SceneArrays) -> IntArray:
    """(N,) an injective code of each scene graph, whatever the order of its objects.

    The graph is what captions can tell: objects, their sizes, the relations and the background.
    Two scenes with one key differ at most in how far apart their objects are.
    """
    order = np.argsort(np.where(scenes.colour < 0, len(COLOURS), scenes.colour), axis=1)
    related = np.take_along_axis(relations(scenes), order[:, :, None], axis=1)
    related = np.take_along_axis(related, order[:, None, :], axis=2)
    looks = (scenes.colour * len(SHAPES) + scenes.shape) * len(SIZES) + scenes.size
    looks = np.take_along_axis(np.where(scenes.colour < 0, -1, looks), order, axis=1)
    keys = scenes.background.copy()
    for slot in range(MAX_OBJECTS):
        keys = keys * (len(COLOURS) * len(SHAPES) * len(SIZES) + 1) + looks[:, slot] + 1
    for first, second in itertools.combinations(range(MAX_OBJECTS), 2):
        keys = keys * 5 + related[:, first, second] + 1
    return keys


@cache
def _placements(n_objects: int) -> IntArray:
    """(P, n_objects) all ordered choices of cells in which no two lie on a diagonal."""
    cells = range(GRID * GRID)
    free = [[abs(a % GRID - b % GRID) != abs(a // GRID - b // GRID) for b in cells] for a in cells]
    return np.array(
        [
            choice
            for choice in itertools.permutations(cells, n_objects)
            if all(free[a][b] for a, b in itertools.combinations(choice, 2))
        ]
    )


def draw_scenes(n: int, rng: np.random.Generator) -> SceneArrays:
    """Draw `n` independent scenes (two may share a graph)."""
    n_objects = rng.choice(np.arange(1, MAX_OBJECTS + 1), size=n, p=OBJECT_MIX)
    shape = rng.random((n, len(SHAPES))).argsort(axis=1)[:, :MAX_OBJECTS]
    colour = rng.random((n, len(COLOURS))).argsort(axis=1)[:, :MAX_OBJECTS]
    size = rng.integers(len(SIZES), size=(n, MAX_OBJECTS))
    spot = rng.random(n)
    cell = np.full((n, MAX_OBJECTS), -1)
    for count in range(1, MAX_OBJECTS + 1):
        mine = n_objects == count
        places = _placements(count)
        cell[mine, :count] = places[(spot[mine] * len(places)).astype(np.int64)]
    absent = cell < 0
    return SceneArrays(
        n_objects=n_objects,
        shape=np.where(absent, -1, shape),
        colour=np.where(absent, -1, colour),
        size=np.where(absent, -1, size),
        column=np.where(absent, -1, cell % GRID),
        row=np.where(absent, -1, cell // GRID),
        background=rng.integers(len(BACKGROUNDS), size=n),
    )


def draw_distinct_scenes(n: int, rng: np.random.Generator, *, taken: IntArray) -> SceneArrays:
    """Draw `n` scenes whose graphs differ from each other and from the keys in `taken`.

    There are some ten million graphs; only the few hundred of one object ever run short, and
    then the share of larger scenes rises.
    """
    parts: list[SceneArrays] = []
    missing = n
    while missing > 0:
        batch = draw_scenes(missing + 16, rng)
        keys = graph_keys(batch)
        first = np.zeros(len(batch), dtype=bool)
        first[np.unique(keys, return_index=True)[1]] = True
        fresh = np.flatnonzero(first & ~np.isin(keys, taken))[:missing]
        parts.append(batch.take(fresh))
        taken = np.concatenate([taken, keys[fresh]])
        missing -= len(fresh)
    return concatenate(parts) if parts else draw_scenes(0, rng)
