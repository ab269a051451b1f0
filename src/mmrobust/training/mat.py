"""MAT: multimodal adversarial training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from mmrobust.attacks.run import evaluation_mode
from mmrobust.models.base import ProjectingEncoder
from mmrobust.models.encoding import embed_captions, embed_images
from mmrobust.quantities import Fraction
from mmrobust.training.base import ContrastiveMethod, Setting, TrainingBatch
from mmrobust.training.image_adversary import ImageAdversary
from mmrobust.training.losses import (
    IMAGE_LOSSES,
    ImageLossName,
    clean_loss,
    pair_loss,
)
from mmrobust.training.text_adversary import TextAdversary

Order = Literal["text_first", "image_first", "independent"]


@dataclass(frozen=True, kw_only=True)
class MAT(ImageAdversary, TextAdversary, ContrastiveMethod):
    """Multimodal adversarial training, Waseda et al., arXiv:2405.18770, section 3.

    The inner maximisation is approximated one modality after the other: the caption first,
    guided by the clean image, then the image against the perturbed caption. The model learns
    from the pair of both. With `augmentations` it is MAT+.

    Fields:
        order: text_first (the paper's), image_first, or independent (each against clean inputs).
        inner_loss: what the image attack raises: contrastive, or positive_pair (no negatives).
        clean_weight: share in 0..1 of the loss of clean pairs in what the model learns from.

    Deviations:
        The paper's inner steps, losses and hyper-parameters are not public. The text attack
        drives a caption away from its image by similarity, as in SGA; the image attack raises
        the contrastive loss, as in TeCoA; no clean pair enters the outer loss; both towers train.
    """

    order: Order = "text_first"
    inner_loss: ImageLossName = "contrastive"
    clean_weight: Fraction = 0.0

    def losses(
        self, model: ProjectingEncoder, batch: TrainingBatch, setting: Setting
    ) -> dict[str, Tensor]:
        """The contrastive losses of adversarial pairs and, if they have a weight, of clean ones."""
        with evaluation_mode(model):
            images, captions = self._attacked(model, batch, setting)
        text = model.encode_text(captions)
        adversarial = pair_loss(model, images, text, batch.positives)
        losses = {"contrastive_adversarial": (1 - self.clean_weight) * adversarial}
        if self.clean_weight > 0:
            losses["contrastive_clean"] = self.clean_weight * clean_loss(model, batch)
        return losses

    def _attacked(
        self, model: ProjectingEncoder, batch: TrainingBatch, setting: Setting
    ) -> tuple[Tensor, list[str]]:
        """Adversarial images (I, 3, H, W) and C captions, in the configured order."""
        if self.order == "image_first":
            images = self._images(model, batch, setting, embed_captions(model, batch.captions))
            captions, _ = self.adversarial_captions(
                model, batch, embed_images(model, images), setting
            )
            return images, captions
        captions, text = self.adversarial_captions(
            model, batch, embed_images(model, batch.images), setting
        )
        if self.order == "independent":
            text = embed_captions(model, batch.captions)
        return self._images(model, batch, setting, text), captions

    def _images(
        self, model: ProjectingEncoder, batch: TrainingBatch, setting: Setting, guide: Tensor
    ) -> Tensor:
        loss = IMAGE_LOSSES[self.inner_loss]
        return self.images_against_text(model, batch, guide, setting.noise, loss=loss)
