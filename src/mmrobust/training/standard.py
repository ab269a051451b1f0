"""Contrastive training on clean pairs: the undefended model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.text_search.base import Language
from mmrobust.models.base import DualEncoder
from mmrobust.training.base import TrainingBatch, TrainingMethod, pair_loss


@dataclass(frozen=True, kw_only=True)
class Standard(TrainingMethod):
    """CLIP's symmetric contrastive loss, Radford et al. 2021, arXiv:2103.00020, section 2.3."""

    def losses(
        self,
        model: DualEncoder,
        batch: TrainingBatch,
        *,
        language: Language,
        noise: ItemNoise,
    ) -> dict[str, Tensor]:
        """The contrastive loss of the clean pairs."""
        return {"contrastive": pair_loss(model, batch.images, model.encode_text(batch.captions))}
