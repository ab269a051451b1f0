"""PGD inside a training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from mmrobust.attacks.image_search.base import Objective
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.noise import ItemNoise
from mmrobust.models.base import DualEncoder
from mmrobust.quantities import PixelDistance, PositiveInt
from mmrobust.threat import ImageBudget
from mmrobust.training.base import TrainingBatch, TrainingMethod
from mmrobust.training.losses import contrastive, similarities


@dataclass(frozen=True, kw_only=True)
class ImageAdversary(TrainingMethod):
    """A method that perturbs images by PGD from a random start.

    Fields:
        eps: l-inf radius in pixel units.
        step_size: length of an inner step.
        steps: inner steps.
    """

    eps: PixelDistance = 2 / 255
    step_size: PixelDistance = 1 / 255
    steps: PositiveInt = 5

    def adversarial_images(self, objective: Objective, images: Tensor, noise: ItemNoise) -> Tensor:
        """Images (I, 3, H, W) within the budget that raise an objective (I,).

        The model should be in eval mode.
        """
        search = GradientAscent(step_size=self.step_size, steps=self.steps)
        budget = ImageBudget(eps=self.eps)
        return search(objective, images, start=None, budget=budget, noise=noise).images

    def images_against_text(
        self,
        model: DualEncoder,
        batch: TrainingBatch,
        text: Tensor,
        noise: ItemNoise,
        *,
        loss: Callable[[Tensor, Tensor], Tensor] = contrastive,
    ) -> Tensor:
        """Images that raise a loss of their similarities with captions, which are held fixed.

        Args:
            model: the model that is trained, in eval mode.
            batch: its images are perturbed.
            text: (C, D) embeddings of captions, no matter whether perturbed.
            noise: draws of the images.
            loss: similarities (I, C) and positives (I, C) to values (I,).
        """
        fixed = text.detach()
        return self.adversarial_images(
            lambda x: loss(similarities(model, model.encode_image(x), fixed), batch.positives),
            batch.images,
            noise,
        )
