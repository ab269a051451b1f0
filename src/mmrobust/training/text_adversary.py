"""Word substitution inside a training loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mmrobust.attacks.text_search.base import Language
from mmrobust.attacks.text_search.memory import TextMemory
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.models.base import DualEncoder
from mmrobust.quantities import NonNegativeInt
from mmrobust.threat import TextBudget
from mmrobust.training.base import Setting, TrainingBatch, TrainingMethod
from mmrobust.training.losses import targets


@dataclass(frozen=True, kw_only=True)
class TextAdversary(TrainingMethod):
    """A method that perturbs captions by word substitution.

    Fields:
        words: words of a caption that may be replaced.
    """

    words: NonNegativeInt = 1

    def adversarial_captions(
        self, model: DualEncoder, batch: TrainingBatch, image: Tensor, setting: Setting
    ) -> tuple[list[str], Tensor]:
        """A batch's captions driven from embeddings (I, D) of its images, and their own (C, D)."""
        return adversarial_captions(
            model,
            batch.captions,
            image,
            batch.positives,
            words=self.words,
            language=setting.language,
        )


def adversarial_captions(
    model: DualEncoder,
    captions: Sequence[str],
    image: Tensor,
    positives: Tensor,
    *,
    words: int,
    language: Language,
) -> tuple[list[str], Tensor]:
    """Captions with up to `words` synonyms put in, least similar to their images.

    The model should be in eval mode.

    Args:
        model: the model that is trained.
        captions: C captions.
        image: (I, D) embeddings of the images.
        positives: (I, C) bool.
        words: budget of each caption.
        language: where synonyms come from.

    Returns:
        The captions, and their embeddings (C, D).
    """
    guide = targets(positives.T) @ image  # (C, D)
    return TextSearch()(
        TextMemory(model, max_rows=0),
        captions,
        lambda rows, owner: -(rows * guide[owner]).sum(dim=1),
        budget=TextBudget(words=words),
        images=range(len(captions)),
        language=language,
    )
