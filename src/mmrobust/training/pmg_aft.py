"""PMG-AFT: adversarial fine-tuning guided by the original model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mmrobust.attacks.run import evaluation_mode
from mmrobust.models.base import ProjectingEncoder
from mmrobust.quantities import NonNegativeFloat
from mmrobust.training.base import ContrastiveMethod, Setting, Towers, TrainingBatch
from mmrobust.training.image_adversary import ImageAdversary
from mmrobust.training.losses import contrastive, divergence, similarities


@dataclass(frozen=True, kw_only=True)
class PMGAFT(ImageAdversary, ContrastiveMethod):
    """Pre-trained model guided adversarial fine-tuning, Wang et al. 2024, arXiv:2401.04350, sec. 3.

    TeCoA's loss, and the model's answers on adversarial images held to the original model's
    answers on the same images and to its own on the clean ones.

    Fields:
        original_weight: of the divergence from the original model's answers (released code: 1).
        clean_weight: of the divergence from the model's own clean answers (released code: 1).

    Deviations:
        The paper classifies, with one prompt a class; here captions stand for classes and answers
        are compared in both directions. The released code takes cosines without temperature as
        logits and sums divergences over a batch while it averages the cross-entropy; here the
        learned scale applies and all terms are means. Divergences are those of the adversarial
        answers from the guide's; the released code takes them the other way round. Batch
        normalisation keeps the original model's running statistics, as in FARE.
    """

    needs_original: ClassVar[bool] = True

    towers: Towers = "image"
    original_weight: NonNegativeFloat = 1.0
    clean_weight: NonNegativeFloat = 1.0

    def losses(
        self, model: ProjectingEncoder, batch: TrainingBatch, setting: Setting
    ) -> dict[str, Tensor]:
        """The contrastive loss of adversarial images and the two divergences."""
        original = setting.require_original()
        text = model.encode_text(batch.captions)
        with evaluation_mode(model):
            images = self.images_against_text(model, batch, text, setting.noise)
        adversarial = similarities(model, model.encode_image(images), text)
        clean = similarities(model, model.encode_image(batch.images), text)
        with torch.no_grad():
            guide = similarities(
                original, original.encode_image(images), original.encode_text(batch.captions)
            )
        to_original = divergence(adversarial, guide, batch.positives).mean()
        to_clean = divergence(adversarial, clean, batch.positives).mean()
        return {
            "contrastive_adversarial": contrastive(adversarial, batch.positives).mean(),
            "to_original": self.original_weight * to_original,
            "to_clean": self.clean_weight * to_clean,
        }
