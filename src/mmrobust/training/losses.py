"""Losses between the images and the captions of a batch, with any number of positives each.

Similarities (I, C) are scaled inner products of unit-norm embeddings. Values are given for each
image, so that an attack can read them item by item; their mean over images is the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from mmrobust.models.base import DualEncoder
from mmrobust.training.base import TrainingBatch


def targets(positives: Tensor) -> Tensor:
    """Positives (R, S) bool as distributions over S, each row summing to 1."""
    return positives / positives.sum(dim=1, keepdim=True)


def contrastive(similarities: Tensor, positives: Tensor) -> Tensor:
    """Symmetric InfoNCE with soft targets, (I,): its mean is CLIP's loss where pairs are 1:1.

    Mean over images of the cross-entropy with uniform targets over their positives, and mean
    over captions of the same, averaged. With one positive a row Radford et al. 2021,
    arXiv:2103.00020, section 2.3; with several the multi-positive targets of ALBEF (Li et al.
    2021, arXiv:2107.07651), fine-tuned for retrieval with targets by image id.

    Args:
        similarities: (I, C), scaled.
        positives: (I, C) bool.
    """
    i2t = -(targets(positives) * similarities.log_softmax(dim=1)).sum(dim=1)
    t2i = -(targets(positives.T) * similarities.T.log_softmax(dim=1)).sum(dim=1)
    return _per_image(i2t, t2i, positives)


def positive_pair(similarities: Tensor, positives: Tensor) -> Tensor:
    """Minus the mean similarity of each image with its positives, (I,): no negatives."""
    return -(targets(positives) * similarities).sum(dim=1)


ImageLossName = Literal["contrastive", "positive_pair"]

IMAGE_LOSSES: dict[ImageLossName, Callable[[Tensor, Tensor], Tensor]] = {
    "contrastive": contrastive,
    "positive_pair": positive_pair,
}
"""What the attack on images inside a training loop may raise, by name."""


def divergence(reference: Tensor, moved: Tensor, positives: Tensor) -> Tensor:
    """KL divergence of softmaxed similarities from `reference` to `moved` (I, C), (I,).

    Mean over images of the divergence over captions, and mean over captions of that over
    images, averaged, as in `contrastive`.
    """
    i2t = _kl(reference, moved)
    t2i = _kl(reference.T, moved.T)
    return _per_image(i2t, t2i, positives)


def pair_loss(model: DualEncoder, images: Tensor, text: Tensor, positives: Tensor) -> Tensor:
    """CLIP's loss () of images (I, 3, H, W) and the embeddings (C, D) of their captions."""
    return contrastive(similarities(model, model.encode_image(images), text), positives).mean()


def clean_loss(model: DualEncoder, batch: TrainingBatch) -> Tensor:
    """CLIP's loss () of a batch as it is."""
    return pair_loss(model, batch.images, model.encode_text(batch.captions), batch.positives)


def similarities(model: DualEncoder, image: Tensor, text: Tensor) -> Tensor:
    """Scaled similarities (I, C) of embeddings (I, D) and (C, D)."""
    return model.scale() * image @ text.T


def squared_distance(one: Tensor, other: Tensor) -> Tensor:
    """Squared l2 distance (B,) of embeddings (B, D), which needn't be of unit norm."""
    return (one - other).square().sum(dim=1)


def _kl(reference: Tensor, moved: Tensor) -> Tensor:
    log_reference, log_moved = reference.log_softmax(dim=1), moved.log_softmax(dim=1)
    return (log_reference.exp() * (log_reference - log_moved)).sum(dim=1)


def _per_image(i2t: Tensor, t2i: Tensor, positives: Tensor) -> Tensor:
    """Values (I,) whose mean is that of both means: a caption's (C,) go to its images."""
    shared = (targets(positives.T) * t2i[:, None]).sum(dim=0)  # (I,)
    return (i2t + shared * (len(i2t) / len(t2i))) / 2
