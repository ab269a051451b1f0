"""TeCoA: image adversarial training under text supervision."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.run import evaluation_mode
from mmrobust.attacks.text_search.base import Language
from mmrobust.models.base import DualEncoder
from mmrobust.quantities import PixelDistance, PositiveInt
from mmrobust.threat import ImageBudget
from mmrobust.training.base import (
    TrainingBatch,
    TrainingMethod,
    adversarial_images,
    pair_loss,
)


@dataclass(frozen=True, kw_only=True)
class TeCoA(TrainingMethod):
    """Text-guided contrastive adversarial training, Mao et al. 2023, arXiv:2212.07016, sec. 3.

    The image is driven to raise the contrastive loss against clean text, and the model learns
    from that image with that text.

    Fields:
        eps: l-inf radius in pixel units (released code: 2/255).
        step_size: length of an inner step (released code: 1/255).
        steps: inner steps (released code: 5; its README: 2).

    Deviations:
        The paper classifies: its text is one prompt a class. Here the text is each image's own
        caption and the negatives are the captions of the other images in the batch, as in
        retrieval. The paper tunes a pretrained image tower alone; a model trained from scratch
        has no use for a frozen random text tower, so both towers train.
    """

    eps: PixelDistance = 2 / 255
    step_size: PixelDistance = 1 / 255
    steps: PositiveInt = 5

    def losses(
        self,
        model: DualEncoder,
        batch: TrainingBatch,
        *,
        language: Language,
        noise: ItemNoise,
    ) -> dict[str, Tensor]:
        """The contrastive loss of adversarial images with clean captions."""
        text = model.encode_text(batch.captions)
        with evaluation_mode(model):
            images = adversarial_images(
                model,
                batch.images,
                text,
                search=GradientAscent(step_size=self.step_size, steps=self.steps),
                budget=ImageBudget(eps=self.eps),
                noise=noise,
            )
        return {"contrastive_adversarial": pair_loss(model, images, text)}
