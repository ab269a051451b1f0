"""MAT: multimodal adversarial training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.run import evaluation_mode
from mmrobust.attacks.text_search.base import Language
from mmrobust.attacks.text_search.memory import TextMemory
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.models.base import DualEncoder
from mmrobust.models.encoding import embed_images
from mmrobust.quantities import NonNegativeInt, PixelDistance, PositiveInt
from mmrobust.threat import ImageBudget, TextBudget
from mmrobust.training.base import (
    TrainingBatch,
    TrainingMethod,
    adversarial_images,
    pair_loss,
)


@dataclass(frozen=True, kw_only=True)
class MAT(TrainingMethod):
    """Multimodal adversarial training, Waseda et al., arXiv:2405.18770, section 3.

    The inner maximisation is approximated one modality after the other: the caption first,
    guided by the clean image, then the image against the perturbed caption. The model learns
    from the pair of both.

    Fields:
        eps: l-inf radius in pixel units.
        step_size: length of an inner image step.
        steps: inner image steps.
        words: words of a caption that may be replaced.

    Deviations:
        The paper's inner steps, losses and hyper-parameters are not public. The text attack
        drives a caption away from its image by similarity, as in SGA; the image attack raises
        the contrastive loss, as in TeCoA; no clean pair enters the outer loss; both towers train.
    """

    eps: PixelDistance = 2 / 255
    step_size: PixelDistance = 1 / 255
    steps: PositiveInt = 5
    words: NonNegativeInt = 1

    def losses(
        self,
        model: DualEncoder,
        batch: TrainingBatch,
        *,
        language: Language,
        noise: ItemNoise,
    ) -> dict[str, Tensor]:
        """The contrastive loss of adversarial images with adversarial captions."""
        with evaluation_mode(model):
            guide = embed_images(model, batch.images)
            captions, text = adversarial_captions(
                model, batch.captions, guide, budget=TextBudget(words=self.words), language=language
            )
            images = adversarial_images(
                model,
                batch.images,
                text,
                search=GradientAscent(step_size=self.step_size, steps=self.steps),
                budget=ImageBudget(eps=self.eps),
                noise=noise,
            )
        return {"contrastive_adversarial": pair_loss(model, images, model.encode_text(captions))}


def adversarial_captions(
    model: DualEncoder,
    captions: Sequence[str],
    guide: Tensor,
    *,
    budget: TextBudget,
    language: Language,
) -> tuple[list[str], Tensor]:
    """Captions within `budget` that are least similar to their images, and their embeddings.

    `guide` (B, D) are the images' embeddings; the model should be in eval mode.
    """
    return TextSearch()(
        TextMemory(model, max_rows=0),
        captions,
        lambda rows, owner: -(rows * guide[owner]).sum(dim=1),
        budget=budget,
        images=range(len(captions)),
        language=language,
    )
