"""FARE: image adversarial training towards the original model's embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mmrobust.attacks.run import evaluation_mode
from mmrobust.models.base import ProjectingEncoder
from mmrobust.training.base import Setting, Towers, TrainingBatch
from mmrobust.training.image_adversary import ImageAdversary
from mmrobust.training.losses import squared_distance


@dataclass(frozen=True, kw_only=True)
class FARE(ImageAdversary):
    """Unsupervised adversarial fine-tuning, Schlarmann et al. 2024, arXiv:2402.12336, section 3.

    The embedding of a perturbed image is held to what the original model makes of the clean one,
    by squared l2 distance before normalisation, which is also what the attack raises. No text is
    read and the text tower stays as it is. Released code: 10 steps of 1/255, eps 2/255 or 4/255.

    Deviations:
        The released PGD steps along momentum over signed gradients; here along the sign itself.
        Batch normalisation, which CLIP's transformers have none of, keeps the original model's
        running statistics.
    """

    needs_original: ClassVar[bool] = True

    def trained(self) -> Towers:
        """The image tower."""
        return "image"

    def losses(
        self, model: ProjectingEncoder, batch: TrainingBatch, setting: Setting
    ) -> dict[str, Tensor]:
        """Squared distance of adversarial embeddings from the original model's clean ones."""
        with torch.no_grad():
            clean = setting.require_original().project_image(batch.images)
        with evaluation_mode(model):
            images = self.adversarial_images(
                lambda x: squared_distance(model.project_image(x), clean),
                batch.images,
                setting.noise,
            )
        return {"embedding_distance": squared_distance(model.project_image(images), clean).mean()}
