"""TeCoA: image adversarial training under text supervision."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmrobust.attacks.run import evaluation_mode
from mmrobust.models.base import ProjectingEncoder
from mmrobust.training.base import ContrastiveMethod, Setting, Towers, TrainingBatch
from mmrobust.training.image_adversary import ImageAdversary
from mmrobust.training.losses import pair_loss


@dataclass(frozen=True, kw_only=True)
class TeCoA(ImageAdversary, ContrastiveMethod):
    """Text-guided contrastive adversarial training, Mao et al. 2023, arXiv:2212.07016, sec. 3.

    The image is driven to raise the contrastive loss against clean text, and the model learns
    from that image with that text. The image tower of a pretrained model is tuned alone; a model
    trained from scratch needs `towers: both`. Released code: eps 2/255, step 1/255, 5 steps (its
    README: 2).

    Deviations:
        The paper classifies: its text is one prompt a class. Here the text is each image's own
        caption and the negatives are the captions of the other images in the batch, as in
        retrieval.
    """

    towers: Towers = "image"

    def losses(
        self, model: ProjectingEncoder, batch: TrainingBatch, setting: Setting
    ) -> dict[str, Tensor]:
        """The contrastive loss of adversarial images with clean captions."""
        text = model.encode_text(batch.captions)
        with evaluation_mode(model):
            images = self.images_against_text(model, batch, text, setting.noise)
        return {"contrastive_adversarial": pair_loss(model, images, text, batch.positives)}
