"""What an attacker maximises: one value per attacked item, from unit-norm embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def positive_pair(image: Tensor, text: Tensor, text_image: Tensor) -> Tensor:
    """Minus the summed similarity of each image with its own captions, (B,).

    The objective of the released SGA and Co-Attack code: no negatives and no temperature.

    Args:
        image: (B, D) unit-norm image embeddings.
        text: (C, D) unit-norm caption embeddings.
        text_image: (C,) row of `image` that each caption belongs to.
    """
    similarity = (image[text_image] * text).sum(dim=1)  # (C,)
    return -torch.zeros(len(image), device=image.device).index_add(0, text_image, similarity)


def contrastive(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE loss of aligned pairs, (B,): the mean is CLIP's training loss.

    Args:
        image: (B, D) unit-norm image embeddings.
        text: (B, D) unit-norm embeddings of one caption an image.
        scale: () factor on the similarities.
    """
    logits = scale * image @ text.T  # (B, B)
    target = torch.arange(len(image), device=image.device)
    i2t = F.cross_entropy(logits, target, reduction="none")
    t2i = F.cross_entropy(logits.T, target, reduction="none")
    return (i2t + t2i) / 2
