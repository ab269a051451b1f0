"""Paraphrases in `scenes`: the same said otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mmrobust.augment.base import Generate, Made, Modality, Source, Sources
from mmrobust.augment.training_scenes import ScenesAugmenter, training_scenes
from mmrobust.data.scenes.captions import speak
from mmrobust.data.scenes.grammar import parse_all
from mmrobust.data.scenes.knobs import misalign_captions
from mmrobust.quantities import Fraction


@dataclass(frozen=True, kw_only=True)
class ScenesParaphrase(ScenesAugmenter):
    """An item's first caption with its meaning spoken anew: other words, another build.

    Stands for rewriting by a language model: text to text.

    Fields:
        rare_word_rate: probability that a concept is spoken with a rare word; None for the
            dataset's. The further from the dataset's, the larger the shift.
        misaligned: share of the captions that are false of their picture.
    """

    reads: ClassVar[Modality] = "caption"
    writes: ClassVar[Modality] = "caption"

    rare_word_rate: Fraction | None = None
    misaligned: Fraction = 0.0

    def open(self, source: Source) -> Generate:
        """Read the training captions."""
        dataset, scenes = training_scenes(source)
        rate = dataset.rare_word_rate if self.rare_word_rate is None else self.rare_word_rate

        def generate(sources: Sources, rng: np.random.Generator) -> Made:
            meant = parse_all([source.split.captions[row] for row in sources.captions])
            spoken = speak(meant, rng, rare_word_rate=rate)
            own = scenes.take(sources.items)
            return Made(misalign_captions(spoken, own, rng, share=self.misaligned))

        return generate
