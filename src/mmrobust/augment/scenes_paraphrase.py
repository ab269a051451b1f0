"""Paraphrases in `scenes`: the same said otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mmrobust.augment.base import Generate, Made, Modality, Source, Sources
from mmrobust.augment.training_scenes import ScenesAugmenter, training_scenes
from mmrobust.data.scenes.captions import speak
from mmrobust.data.scenes.grammar import parse_all
from mmrobust.data.scenes.scene import SceneArrays
from mmrobust.data.scenes.truth import are_true
from mmrobust.errors import UserError
from mmrobust.quantities import Fraction
from mmrobust.randomness import numpy_generator

_MAX_REDRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class ScenesParaphrase(ScenesAugmenter):
    """An item's first caption with its meaning spoken anew: other words, another build.

    Stands for rewriting by a language model: text to text.

    Fields:
        rare_word_rate: probability that a concept is spoken with a rare word; None for the
            dataset's. The further from the dataset's, the larger the shift.
        misaligned: share of the items whose captions all say again what a caption of one other
            item says, false of their picture. An item's captions are as alike at any share, so
            that alignment is changed and diversity is not.
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
            # An item keeps its donor in all passes, so that its captions agree.
            choice = numpy_generator(source.data_seed, "donors", int(sources.items[0]))
            donors = donor_rows(captions, scenes.take(sources.items), choice, share=self.misaligned)
            meant = parse_all(captions).take(donors)
            return Made(speak(meant, rng, rare_word_rate=rate), sources=sources.captions[donors])

        return generate


def donor_rows(
    captions: Sequence[str], scenes: SceneArrays, rng: np.random.Generator, *, share: float
) -> NDArray[np.int64]:
    """For each of R scenes the row (R,) of the caption it gets: its own, or one false of it.

    Args:
        captions: R captions, each true of the scene of its own row.
        scenes: R scenes.
        rng: source of the choice. The same state and a larger share replace the same rows and
            more.
        share: in 0..1; `round(share * R)` rows get another's caption.
    """
    rows = np.arange(len(captions))
    todo = rng.permutation(len(captions))[: round(share * len(captions))]
    for _ in range(_MAX_REDRAWS):
        if len(todo) == 0:
            return rows
        rows[todo] = rng.integers(len(captions), size=len(todo))
        true = are_true([captions[row] for row in rows[todo].tolist()], scenes.take(todo))
        todo = todo[true]
    raise UserError(
        f"scenes_paraphrase: misaligned {share} is impossible among {len(captions)} items; lower it"
    )
