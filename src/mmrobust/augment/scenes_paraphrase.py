"""Paraphrases in `scenes`: the same said otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mmrobust.augment.base import Generate, Made, Modality, Source, Sources
from mmrobust.augment.training_scenes import ScenesAugmenter, misaligned_rows, training_scenes
from mmrobust.data.scenes.captions import speak
from mmrobust.data.scenes.grammar import parse_all
from mmrobust.data.scenes.scene import IntArray
from mmrobust.data.scenes.truth import are_true
from mmrobust.quantities import Fraction
from mmrobust.randomness import numpy_generator


@dataclass(frozen=True, kw_only=True)
class ScenesParaphrase(ScenesAugmenter):
    """An item's first caption with its meaning spoken anew: other words, another build.

    Stands for rewriting by a language model: text to text.

    Fields:
        rare_word_rate: probability that a concept is spoken with a rare word; None for the
            dataset's. The further from the dataset's, the larger the shift.
        misaligned: share of the items whose captions all say again what a caption of one other
            item says, false of their picture. An item's captions are as alike at any share, so
            that alignment is changed and diversity is not. Which items these are goes by the data,
            whatever the `seed`.
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
            captions = [source.split.captions[row] for row in sources.captions]
            own = scenes.take(sources.items)

            def fits(of: IntArray, rows: IntArray) -> NDArray[np.bool_]:
                return are_true([captions[row] for row in rows.tolist()], own.take(of))

            # An item keeps its donor in all passes, so that its captions agree.
            choice = numpy_generator(source.data_seed, "donors", int(sources.items[0]))
            donors = misaligned_rows(len(captions), fits, choice, share=self.misaligned)
            meant = parse_all(captions).take(donors)
            return Made(speak(meant, rng, rare_word_rate=rate), sources=sources.captions[donors])

        return generate
