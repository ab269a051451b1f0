"""LEAF: text adversarial training towards the original model's embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mmrobust.attacks.run import evaluation_mode
from mmrobust.attacks.text_search.levenshtein import levenshtein_search
from mmrobust.models.base import ProjectingEncoder
from mmrobust.models.encoding import embed_captions
from mmrobust.quantities import PositiveInt
from mmrobust.training.base import Setting, Towers, TrainingBatch, TrainingMethod
from mmrobust.training.losses import squared_distance


@dataclass(frozen=True, kw_only=True)
class LEAF(TrainingMethod):
    """Levenshtein efficient adversarial fine-tuning, Abad Rocamora et al. 2025, arXiv:2506.03355.

    FARE's loss on captions (section 4): the embedding of an edited caption is held to what the
    original model makes of the clean one, by squared l2 distance before normalisation. No image
    is read and the image tower stays as it is.

    Fields:
        distance: character edits (paper: k = 1).
        rho: random places, and random characters, that are tried for each edit (paper: 50).
        constrained: whether an edit must leave fewer words of the language in the caption.

    Deviations:
        Known words are those of the dataset's lexicon and not of an English dictionary. The
        search deviates as `levenshtein_search` says.
    """

    needs_original: ClassVar[bool] = True

    distance: PositiveInt = 1
    rho: PositiveInt = 50
    constrained: bool = True

    def trained(self) -> Towers:
        """The text tower."""
        return "text"

    def losses(
        self, model: ProjectingEncoder, batch: TrainingBatch, setting: Setting
    ) -> dict[str, Tensor]:
        """Squared distance of adversarial embeddings from the original model's clean ones."""
        original = setting.require_original()
        with torch.no_grad():
            clean = original.project_tokens(original.tokenize(batch.captions))

        def value(texts: Sequence[str], owner: Tensor) -> Tensor:
            moved = embed_captions(model, texts, encode=model.project_tokens)
            return squared_distance(moved, clean[owner.to(clean.device)])

        with evaluation_mode(model):
            captions = levenshtein_search(
                batch.captions,
                value,
                distance=self.distance,
                rho=self.rho,
                known=setting.language.known_words() if self.constrained else None,
                generator=setting.generator,
            )
        moved = model.project_tokens(model.tokenize(captions))
        return {"embedding_distance": squared_distance(moved, clean).mean()}
