"""What an attacker maximises, from unit-norm embeddings: one value per image or per caption row.

An objective of an image reads that image, its own captions and a fixed context, never the other
images under attack: items of a batch don't interact, and the sum over a batch has each image's
own gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrobust.errors import UserError


@dataclass(frozen=True)
class Distractors:
    """Clean embeddings of the gallery that a batch is ranked in, its own items among them.

    Fields:
        image: (G, D) unit-norm image embeddings.
        text: (T, D) unit-norm caption embeddings.
        text_image: (T,) row of `image` that each caption belongs to.
    """

    image: Tensor
    text: Tensor
    text_image: Tensor


@dataclass(frozen=True, kw_only=True)
class Context:
    """What stays fixed while a batch is attacked; all of it clean.

    Fields:
        image: (B, D) embeddings of the original images.
        text: (C, D) embeddings of the original captions.
        caption_image: (C,) row of the batch's images that each caption belongs to.
        scale: () factor on similarities, the model's exp(`logit_scale`).
        distractors: the gallery.
        own: (B,) row of `distractors.image` at which each image of the batch stands.
    """

    image: Tensor
    text: Tensor
    caption_image: Tensor
    scale: Tensor
    distractors: Distractors
    own: Tensor

    def per_image(self, values: Tensor) -> Tensor:
        """Sums (B,) over each image's captions of values (C,)."""
        summed = torch.zeros(len(self.image), device=values.device, dtype=values.dtype)
        return summed.index_add(0, self.caption_image, values)

    def captions_per_image(self) -> Tensor:
        """Number (B,) of captions of each image."""
        return self.per_image(torch.ones_like(self.caption_image, dtype=self.text.dtype))

    def other_texts(self, image: Tensor) -> Tensor:
        """Log sum exp (B,) of scaled similarities with the captions of all other images."""
        self._require_others()
        logits = self.scale * image @ self.distractors.text.T  # (B, T)
        own = self.distractors.text_image[None, :] == self.own[:, None]
        return logits.masked_fill(own, -torch.inf).logsumexp(dim=1)

    def other_images(self, text: Tensor, owner: Tensor) -> Tensor:
        """Log sum exp (R,) of scaled similarities of captions (R, D) with all other images.

        Args:
            text: (R, D) embeddings of captions.
            owner: (R,) row of the batch's images that each belongs to.
        """
        self._require_others()
        logits = self.scale * text @ self.distractors.image.T  # (R, G)
        own = self.own[owner, None] == torch.arange(logits.shape[1], device=text.device)
        return logits.masked_fill(own, -torch.inf).logsumexp(dim=1)

    def _require_others(self) -> None:
        if len(self.distractors.image) < 2:
            raise UserError("an objective with negatives needs a gallery of at least two images")


ImageObjective = Callable[[Tensor, Tensor, Context], Tensor]
"""Image embeddings (B, D), their captions' embeddings (C, D) and the context -> (B,)."""

TextObjective = Callable[[Tensor, Tensor, Tensor, Context], Tensor]
"""Embeddings (R, D) of changed captions, the caption (R,) that each belongs to, guiding image
embeddings (B, D) and the context -> (R,)."""


def positive_pair(image: Tensor, text: Tensor, context: Context) -> Tensor:
    """Minus the summed similarity of each image with its own captions.

    The objective of the released SGA code: no negatives and no temperature.
    """
    return -context.per_image((image[context.caption_image] * text).sum(dim=1))


def contrastive(image: Tensor, text: Tensor, context: Context) -> Tensor:
    """Mean over an image's captions of the symmetric InfoNCE loss of the pair.

    Negatives are the clean embeddings of all other items of the gallery; an image's other own
    captions are none (they would be false ones).
    """
    row = context.caption_image
    pair = context.scale * (image[row] * text).sum(dim=1)  # (C,)
    i2t = torch.logaddexp(pair, context.other_texts(image)[row]) - pair
    t2i = torch.logaddexp(pair, context.other_images(text, row)) - pair
    return context.per_image((i2t + t2i) / 2) / context.captions_per_image()


def soft_margin(image: Tensor, text: Tensor, context: Context) -> Tensor:
    """Smooth margins by which the item's queries are answered wrongly, summed over directions.

    Image to text: the wrong captions over the own ones, as rank 1 is judged. Text to image: the
    wrong images over the own one, in the mean over captions. Of our own making.
    """
    return soft_margin_i2t(image, text, context) + soft_margin_t2i(image, text, context)


def soft_margin_i2t(image: Tensor, text: Tensor, context: Context) -> Tensor:
    """The part of `soft_margin` by which image queries are judged."""
    row = context.caption_image
    pair = context.scale * (image[row] * text).sum(dim=1)  # (C,)
    return context.other_texts(image) - _logsumexp_by(pair, row, len(image))


def soft_margin_t2i(image: Tensor, text: Tensor, context: Context) -> Tensor:
    """The part of `soft_margin` by which caption queries are judged."""
    row = context.caption_image
    pair = context.scale * (image[row] * text).sum(dim=1)  # (C,)
    t2i = context.per_image(context.other_images(text, row) - pair)
    return t2i / context.captions_per_image()


def embedding_divergence(image: Tensor, text: Tensor, context: Context) -> Tensor:
    """KL divergence of softmaxed embeddings from the clean image to the perturbed one.

    Co-Attack's image term (Zhang et al. 2022, arXiv:2206.09391, section 3.2).
    """
    return divergence(context.image, image)


def joint_divergence(image: Tensor, text: Tensor, context: Context, *, alpha: float) -> Tensor:
    """Co-Attack's objective: away from the clean image and, `alpha` times, from the captions.

    Released: KL(clean image || image) + alpha KL(perturbed caption || image), both of softmaxed
    unit-norm embeddings; here the second is a mean over the image's captions.
    """
    row = context.caption_image
    from_text = context.per_image(divergence(text, image[row])) / context.captions_per_image()
    return divergence(context.image, image) + alpha * from_text


def away_from_image(rows: Tensor, owner: Tensor, image: Tensor, context: Context) -> Tensor:
    """Minus the similarity of a caption with its guiding image: SGA's text objective."""
    return -(rows * image[context.caption_image[owner]]).sum(dim=1)


def away_from_text(rows: Tensor, owner: Tensor, image: Tensor, context: Context) -> Tensor:
    """KL divergence of softmaxed embeddings from the clean caption: Co-Attack's; no image."""
    return divergence(context.text[owner], rows)


def text_soft_margin(rows: Tensor, owner: Tensor, image: Tensor, context: Context) -> Tensor:
    """What a caption adds to `soft_margin`: wrong images over the own one, and its own pair.

    The pair counts twice, once for each direction.
    """
    item = context.caption_image[owner]
    pair = context.scale * (rows * image[item]).sum(dim=1)
    return context.other_images(rows, item) - 2 * pair


def text_soft_margin_t2i(rows: Tensor, owner: Tensor, image: Tensor, context: Context) -> Tensor:
    """What a caption adds to `soft_margin_t2i`: wrong images over the own one."""
    item = context.caption_image[owner]
    pair = context.scale * (rows * image[item]).sum(dim=1)
    return context.other_images(rows, item) - pair


def divergence(reference: Tensor, moved: Tensor) -> Tensor:
    """KL(softmax(reference) || softmax(moved)) of embeddings (R, D), (R,)."""
    log_moved, log_reference = F.log_softmax(moved, dim=1), F.log_softmax(reference, dim=1)
    return F.kl_div(log_moved, log_reference, reduction="none", log_target=True).sum(dim=1)


def _logsumexp_by(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Log sum exp (G,) of values (C,) by group, stable for large values."""
    top = torch.full((groups,), -torch.inf, device=values.device, dtype=values.dtype)
    top = top.scatter_reduce(0, group, values.detach(), "amax")
    summed = torch.zeros_like(top).index_add(0, group, (values - top[group]).exp())
    return top + summed.log()


ImageObjectiveName = Literal["positive_pair", "contrastive", "soft_margin"]

IMAGE_OBJECTIVES: dict[ImageObjectiveName, ImageObjective] = {
    "positive_pair": positive_pair,
    "contrastive": contrastive,
    "soft_margin": soft_margin,
}
"""The objectives that image attacks may choose among, by name."""
