"""What attacks on images alone have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from mmrobust.attacks.base import Attack
from mmrobust.attacks.image_search.base import ImageSearch
from mmrobust.attacks.objectives import IMAGE_OBJECTIVES, ImageObjectiveName
from mmrobust.attacks.steps import ImageStep, Step


@dataclass(frozen=True, kw_only=True)
class ImageAttack(Attack):
    """One search for images, guided by the original captions.

    Fields:
        objective: what is maximised: positive_pair (no negatives, as in the released SGA code),
            contrastive (with the gallery's captions and images as negatives) or soft_margin.
    """

    objective: ImageObjectiveName = "positive_pair"

    @abstractmethod
    def search(self) -> ImageSearch:
        """How images are searched."""

    def recipe(self) -> tuple[Step, ...]:
        """One image step."""
        objective = IMAGE_OBJECTIVES[self.objective]
        return (ImageStep(search=self.search(), guide="original", objective=objective),)
