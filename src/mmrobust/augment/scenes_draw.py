"""Pictures of what a caption of `scenes` says, with the rest imagined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy import stats

from mmrobust.augment.base import Generate, Made, Modality, Source, Sources
from mmrobust.augment.training_scenes import ScenesPictures, scenes_dataset
from mmrobust.data.scenes.grammar import Propositions, parse_all
from mmrobust.data.scenes.scene import (
    MAX_OBJECTS,
    IntArray,
    SceneArrays,
    draw_scenes,
    graph_keys,
)
from mmrobust.data.scenes.truth import are_true
from mmrobust.data.scenes.vocabulary import COLOURS, SHAPES
from mmrobust.errors import UserError

_MAX_REDRAWS = 20_000


@dataclass(frozen=True, kw_only=True)
class ScenesDraw(ScenesPictures):
    """A picture of a scene of which the item's first caption is true, and which may be another.

    Stands for text-to-image generation: what the caption leaves open (sizes, background, places
    and objects that it doesn't mention) is drawn, as likely as it is where the dataset's speaker
    says no more.
    """

    reads: ClassVar[Modality] = "caption"

    def open(self, source: Source) -> Generate:
        """Read the training captions."""
        dataset = scenes_dataset(source)
        drawn = dataset.scenes(seed=source.data_seed)
        held_out = np.concatenate([graph_keys(drawn[split]) for split in ("dev", "test")])

        def generate(sources: Sources, rng: np.random.Generator) -> Made:
            imagination, choice = rng.spawn(2)
            captions = [source.split.captions[row] for row in sources.captions]
            imagined = scenes_of(captions, imagination, detail=dataset.detail, taken=held_out)
            return self.render(captions, imagined, dataset, rng, choice)

        return generate


def scenes_of(
    captions: Sequence[str], rng: np.random.Generator, *, detail: float, taken: IntArray
) -> SceneArrays:
    """Draw a scene of which each caption is true, as the one that it was said of is distributed.

    What the caption leaves open is as in `draw_scenes`, and an object is seldom left out: a scene
    is kept as often as the speaker of `draw_propositions` mentions no more of its objects.

    Args:
        captions: C captions.
        rng: source of all choices.
        detail: of the speaker, in 0..1.
        taken: keys of graphs that aren't drawn: those of the splits that are held out.

    Raises:
        UserError: a caption that the grammar can't read, or that contradicts itself.
    """
    said = parse_all(captions)
    mentions = (said.colour >= 0).sum(axis=1)
    counts = np.arange(MAX_OBJECTS)  # beyond the first: of mentions a row, of objects a column
    spoken = np.asarray(stats.binom.pmf(counts[:, None], counts, 1 - (1 - detail) ** 3))
    scenes = draw_scenes(len(captions), rng)
    todo = np.arange(len(captions))
    for _ in range(_MAX_REDRAWS):
        drawn = draw_scenes(len(todo), rng)
        tried = _with_what_is_said(drawn, said.take(todo), rng)
        likely = spoken[mentions[todo] - 1, drawn.n_objects - 1]
        fits = (rng.random(len(todo)) < likely) & are_true(
            [captions[row] for row in todo.tolist()], tried
        )
        fits &= ~np.isin(graph_keys(tried), taken)
        scenes = scenes.put(todo[fits], tried.take(fits))
        todo = todo[~fits]
        if len(todo) == 0:
            return scenes
    raise UserError(f"scenes_draw: found no scene of which {captions[todo[0]]!r} is true")


def _with_what_is_said(
    scenes: SceneArrays, said: Propositions, rng: np.random.Generator
) -> SceneArrays:
    """Give the first objects the colours, shapes and sizes that are said, and the background."""
    present = scenes.colour >= 0

    def distinct(values: IntArray, kinds: int) -> IntArray:
        keys = rng.random((len(values), kinds))
        rows, slots = np.nonzero(values >= 0)
        keys[rows, values[rows, slots]] = slots - MAX_OBJECTS  # those said come first, in order
        return np.where(present, keys.argsort(axis=1)[:, :MAX_OBJECTS], -1)

    return replace(
        scenes,
        colour=distinct(said.colour, len(COLOURS)),
        shape=distinct(said.shape, len(SHAPES)),
        size=np.where(present & (said.size >= 0), said.size, scenes.size),
        background=np.where(said.background >= 0, said.background, scenes.background),
    )
