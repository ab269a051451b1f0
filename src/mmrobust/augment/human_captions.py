"""The human captions of an image, one by one: the reference for made ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mmrobust.augment.base import Augmenter, Generate, Made, Modality, Source, Sources
from mmrobust.errors import UserError


@dataclass(frozen=True, kw_only=True)
class HumanCaptions(Augmenter):
    """The dataset's own captions beyond an image's first, in their order.

    Waseda et al., arXiv:2405.18770, add them one by one as a reference for generated captions.
    """

    reads: ClassVar[Modality] = "caption"
    writes: ClassVar[Modality] = "caption"

    def open(self, source: Source) -> Generate:
        """Look captions up."""
        split = source.split
        first = np.searchsorted(split.caption_image, np.arange(len(split.images)))
        count = np.diff(np.append(first, len(split.captions)))

        def generate(sources: Sources, rng: np.random.Generator) -> Made:
            wanted = sources.number + 1
            short = sources.items[count[sources.items] <= wanted]
            if len(short):
                raise UserError(
                    f"augmentations: human_captions: image {short[0]} has {count[short[0]]} "
                    f"captions, so `n` is at most {count.min() - 1}"
                )
            rows = first[sources.items] + wanted
            return Made([split.captions[row] for row in rows], sources=rows)

        return generate
