"""MMCoA: multimodal contrastive adversarial training, one adversarial side at a time."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmrobust.attacks.run import evaluation_mode
from mmrobust.models.base import ProjectingEncoder
from mmrobust.models.encoding import embed_images
from mmrobust.training.base import ContrastiveMethod, Setting, TrainingBatch
from mmrobust.training.image_adversary import ImageAdversary
from mmrobust.training.losses import pair_loss
from mmrobust.training.text_adversary import TextAdversary


@dataclass(frozen=True, kw_only=True)
class MMCoA(ImageAdversary, TextAdversary, ContrastiveMethod):
    """Multimodal contrastive adversarial training, Zhou et al. 2024, arXiv:2404.19287, section 4.

    Half the loss is of adversarial images with clean captions, half of clean images with
    adversarial captions; no pair is adversarial on both sides. Released code: eps 1/255, 10 steps
    of 1/255, one word.

    Deviations:
        The paper classifies with prompts, and its words come from BERT-Attack; here captions are
        the image's own and words are synonyms, as for `mat`, so that the two compare. The
        released code also adds up the gradients of all its attack steps in the parameters, which
        is not the published loss and not done here.
    """

    def losses(
        self, model: ProjectingEncoder, batch: TrainingBatch, setting: Setting
    ) -> dict[str, Tensor]:
        """Half of either contrastive loss."""
        text = model.encode_text(batch.captions)
        with evaluation_mode(model):
            images = self.images_against_text(model, batch, text, setting.noise)
            captions, _ = self.adversarial_captions(
                model, batch, embed_images(model, batch.images), setting
            )
        moved = model.encode_text(captions)
        return {
            "adversarial_images": pair_loss(model, images, text, batch.positives) / 2,
            "adversarial_captions": pair_loss(model, batch.images, moved, batch.positives) / 2,
        }
