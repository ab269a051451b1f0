"""Standard contrastive training, the undefended baseline."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmrobust.models.base import ProjectingEncoder
from mmrobust.training.base import ContrastiveMethod, Setting, TrainingBatch
from mmrobust.training.losses import clean_loss


@dataclass(frozen=True, kw_only=True)
class Standard(ContrastiveMethod):
    """CLIP's contrastive loss on clean pairs, Radford et al. 2021, arXiv:2103.00020, sec. 2.3."""

    def losses(
        self, model: ProjectingEncoder, batch: TrainingBatch, setting: Setting
    ) -> dict[str, Tensor]:
        """The contrastive loss of the batch as it is."""
        return {"contrastive": clean_loss(model, batch)}
