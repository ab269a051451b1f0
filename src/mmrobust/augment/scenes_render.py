"""The scenes of `scenes` rendered anew, in their style or in another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mmrobust.augment.base import Generate, Made, Modality, Source, Sources
from mmrobust.augment.training_scenes import (
    ScenesAugmenter,
    misaligned_rows,
    training_scenes,
)
from mmrobust.data.scenes.render import render
from mmrobust.data.scenes.truth import are_true
from mmrobust.quantities import Fraction


@dataclass(frozen=True, kw_only=True)
class ScenesRender(ScenesAugmenter):
    """Another picture of the same scene: places, tints, background and noise drawn anew.

    Stands for image-to-image generation.

    Fields:
        style_shift: how far palette and texture are from the dataset's.
        misaligned: share of the pictures that show another scene.
    """

    reads: ClassVar[Modality] = "image"
    writes: ClassVar[Modality] = "image"

    style_shift: Fraction = 0.0
    misaligned: Fraction = 0.0

    def open(self, source: Source) -> Generate:
        """Look at the training pictures."""
        dataset, scenes = training_scenes(source)

        def generate(sources: Sources, rng: np.random.Generator) -> Made:
            choice = rng.spawn(1)[0]
            captions = [source.split.captions[row] for row in sources.captions]
            own = scenes.take(sources.items)
            shown = own.take(misaligned_rows(captions, own, choice, share=self.misaligned))
            pictures = render(
                shown,
                rng,
                image_size=dataset.image_size,
                pixel_noise=dataset.pixel_noise,
                style_shift=self.style_shift,
            )
            return Made(pictures, are_true(captions, shown))

        return generate
