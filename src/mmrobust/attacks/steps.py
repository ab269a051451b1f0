"""The steps that recipes are made of, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmrobust.attacks.image_search.base import ImageSearch
from mmrobust.attacks.objectives import (
    ImageObjective,
    TextObjective,
    away_from_image,
    positive_pair,
)
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.quantities import PositiveInt

Guide = Literal["original", "current"]


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """A guide mixed of the original image, the current one and the iterate before it."""

    original: float
    current: float
    previous: float


@dataclass(frozen=True, kw_only=True)
class ImageStep:
    """Perturb the images, starting from the originals.

    Fields:
        search: how.
        guide: whether the captions as given or as they are now enter the objective.
        objective: what is maximised.
    """

    search: ImageSearch
    guide: Guide
    objective: ImageObjective = positive_pair


@dataclass(frozen=True, kw_only=True)
class TextStep:
    """Perturb the captions, starting from the originals.

    Fields:
        search: how.
        guide: whether the images as given, as they are now, or a mixture along their trajectory
            enter the objective.
        objective: what is maximised.
    """

    search: TextSearch
    guide: Guide | Trajectory
    objective: TextObjective = away_from_image


@dataclass(frozen=True, kw_only=True)
class Alternate:
    """Alternate text and image until the item's loss stops rising, and start again.

    A round attacks the captions, from the originals, by the current image, and then the image,
    from where it is, by the captions. What raises the item's loss is kept, per item; an item
    whose loss no longer rises is left alone. Later restarts begin at a random image and the best
    captions so far. The best of all rounds is the outcome.

    Fields:
        image: step on the images; its guide must be "current".
        text: step on the captions; its guide must be "current".
        loss: what an item's rounds are compared by.
        rounds: at most so many.
        restarts: times that the whole begins anew.
    """

    image: ImageStep
    text: TextStep
    loss: ImageObjective
    rounds: PositiveInt
    restarts: PositiveInt

    def __post_init__(self) -> None:
        if not self.image.guide == self.text.guide == "current":
            raise ValueError("both steps of an alternation must be guided by the current inputs")


Step = ImageStep | TextStep | Alternate
