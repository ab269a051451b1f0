"""The scenes of `scenes` rendered anew, in their style or in another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mmrobust.augment.base import Generate, Made, Modality, Source, Sources
from mmrobust.augment.training_scenes import ScenesPictures, training_scenes


@dataclass(frozen=True, kw_only=True)
class ScenesRender(ScenesPictures):
    """Another picture of the same scene: places, tints, background and noise drawn anew.

    Stands for image-to-image generation.
    """

    reads: ClassVar[Modality] = "image"

    def open(self, source: Source) -> Generate:
        """Look at the training pictures."""
        dataset, scenes = training_scenes(source)

        def generate(sources: Sources, rng: np.random.Generator) -> Made:
            choice = rng.spawn(1)[0]
            captions = [source.split.captions[row] for row in sources.captions]
            own = scenes.take(sources.items)
            return self.render(captions, own, dataset, rng, choice)

        return generate
