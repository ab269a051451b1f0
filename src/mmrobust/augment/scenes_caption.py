"""Captions of the pictures of `scenes`, by a captioner that errs as often as it is told to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mmrobust.augment.base import Generate, Made, Modality, Source, Sources
from mmrobust.augment.training_scenes import ScenesAugmenter, training_scenes
from mmrobust.data.scenes.captions import draw_propositions, speak
from mmrobust.data.scenes.grammar import Propositions
from mmrobust.data.scenes.scene import IntArray
from mmrobust.data.scenes.vocabulary import BACKGROUNDS, COLOURS, RELATIONS, SHAPES, SIZES
from mmrobust.quantities import Fraction


@dataclass(frozen=True, kw_only=True)
class ScenesCaption(ScenesAugmenter):
    """A caption drawn anew from what the picture shows, whatever its own captions say of it.

    Stands for a captioning model: image to text.

    Fields:
        detail: how much of the scene is told; None for the dataset's.
        rare_word_rate: probability that a concept is spoken with a rare word; None for the
            dataset's.
        error_rate: probability that an attribute or relation that is told is misread.
    """

    reads: ClassVar[Modality] = "image"
    writes: ClassVar[Modality] = "caption"

    detail: Fraction | None = None
    rare_word_rate: Fraction | None = None
    error_rate: Fraction = 0.0

    def open(self, source: Source) -> Generate:
        """Look at the training pictures."""
        dataset, scenes = training_scenes(source)
        detail = dataset.detail if self.detail is None else self.detail
        rate = dataset.rare_word_rate if self.rare_word_rate is None else self.rare_word_rate

        def generate(sources: Sources, rng: np.random.Generator) -> Made:
            errors = rng.spawn(1)[0]  # so that errors leave the other draws alone
            seen = draw_propositions(scenes.take(sources.items), rng, detail=detail)
            told = misread(seen, errors, error_rate=self.error_rate)
            return Made(speak(told, rng, rare_word_rate=rate))

        return generate


def misread(
    propositions: Propositions, rng: np.random.Generator, *, error_rate: float
) -> Propositions:
    """Replace what is said by something else of its kind, each with a probability."""

    def of(values: IntArray, kinds: int) -> IntArray:
        wrong = rng.random(values.shape) < error_rate
        other = (values + rng.integers(1, kinds, size=values.shape)) % kinds
        return np.where((values >= 0) & wrong, other, values)

    return replace(
        propositions,
        colour=of(propositions.colour, len(COLOURS)),
        shape=of(propositions.shape, len(SHAPES)),
        size=of(propositions.size, len(SIZES)),
        link=of(propositions.link, len(RELATIONS)),
        background=of(propositions.background, len(BACKGROUNDS)),
    )
