"""TRADES for image-text pairs: clean loss, and adversarial pairs answered like clean ones."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmrobust.attacks.run import evaluation_mode
from mmrobust.models.base import ProjectingEncoder
from mmrobust.models.encoding import embed_captions, embed_images
from mmrobust.quantities import NonNegativeFloat
from mmrobust.training.base import ContrastiveMethod, Setting, TrainingBatch
from mmrobust.training.image_adversary import ImageAdversary
from mmrobust.training.losses import contrastive, divergence, similarities
from mmrobust.training.text_adversary import TextAdversary


@dataclass(frozen=True, kw_only=True)
class Trades(ImageAdversary, TextAdversary, ContrastiveMethod):
    """TRADES, Zhang et al. 2019, arXiv:1901.08573, section 3, with both modalities perturbed.

    The clean contrastive loss plus `beta` times the divergence of the batch's softmaxed
    similarities from the clean pairs to the adversarial ones, which is also what the image attack
    raises. Text is attacked first, as in `mat`.

    Fields:
        beta: weight of the divergence (paper: 1 to 6).

    Deviations:
        The paper's classifier answers with class probabilities; here they are those of a batch's
        captions given an image and of its images given a caption. Its attack starts from a small
        Gaussian step; here uniformly in the ball.
    """

    beta: NonNegativeFloat = 6.0

    def losses(
        self, model: ProjectingEncoder, batch: TrainingBatch, setting: Setting
    ) -> dict[str, Tensor]:
        """The clean contrastive loss and the divergence."""
        with evaluation_mode(model):
            # In the mode that the attack's own answers are in: unperturbed, they don't diverge.
            image = embed_images(model, batch.images)
            fixed = similarities(model, image, embed_captions(model, batch.captions))
            captions, text = self.adversarial_captions(model, batch, image, setting)
            images = self.adversarial_images(
                lambda x: divergence(
                    fixed, similarities(model, model.encode_image(x), text), batch.positives
                ),
                batch.images,
                setting.noise,
            )
        clean = similarities(
            model, model.encode_image(batch.images), model.encode_text(batch.captions)
        )
        moved = similarities(model, model.encode_image(images), model.encode_text(captions))
        return {
            "contrastive": contrastive(clean, batch.positives).mean(),
            "to_clean": self.beta * divergence(clean, moved, batch.positives).mean(),
        }
