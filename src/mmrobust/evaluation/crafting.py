"""Attack a split, or a part of it, and keep what its evaluation needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmrobust.attacks.base import Adversarial, Attack
from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.text_search.base import Language
from mmrobust.evaluation.retrieval import Embeddings
from mmrobust.evaluation.subject import Subject
from mmrobust.progress import progress_bar
from mmrobust.threat import ThreatModel

UNKNOWN = -1
"""In place of true (1) or false (0), where nobody decides it."""


@dataclass
class Crafted:
    """Adversarial inputs of the attacked items, as the evaluated model embeds them.

    Fields:
        items: rows of the attacked images, ascending.
        image: (N, D) embeddings, clean where an image wasn't attacked.
        captions: all C captions, as they are now.
        caption_true: (C,) int8, 1 or 0 where truth is decided and the caption was attacked.
        kept: adversarial pixels (3, H, W) of the images asked for, by row.
        sizes: what the wrapper counted, item by item or caption by caption.
    """

    items: list[int]
    image: NDArray[np.float32]
    captions: list[str]
    caption_true: NDArray[np.int8]
    kept: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    sizes: dict[str, list[torch.Tensor]] = field(default_factory=dict)

    def embeddings(self, target: Subject) -> Embeddings:
        """Clean and adversarial embeddings under the evaluated model."""
        return target.embeddings(self.image, target.embed_attacked(self.captions))

    def checks(self) -> dict[str, Any]:
        """Budgets spent and gradients seen, over the attacked items."""
        of = {name: torch.cat(found).double() for name, found in self.sizes.items()}
        zero = of["zero_gradients"]
        return {
            "max_perturbation": float(of["perturbation"].max()),
            "max_words_changed": int(of["words_changed"].max()),
            "mean_words_changed": float(of["words_changed"].mean()),
            "max_characters_changed": int(of["characters_changed"].max()),
            "zero_gradients": None if bool(zero.isnan().all()) else float(zero.nanmean()),
            "image_passes": float(of["image_passes"].mean()),
        }


def craft(
    source: Subject,
    target: Subject,
    attack: Attack,
    threat_model: ThreatModel,
    language: Language,
    *,
    items: Sequence[int],
    keep: Sequence[int],
    name: str,
    seed: int,
    batch_images: int,
) -> Crafted:
    """Attack items on the source model and embed them with the target.

    Args:
        source: the model whose scores and gradients the attack reads; for a white-box attack the
            target itself.
        target: the evaluated model.
        attack: what is run.
        threat_model: what it may do.
        language: what it knows of the language.
        items: rows of the attacked images, ascending.
        keep: rows of images whose adversarial pixels are kept.
        name: of the attack, which names its random draws.
        seed: of the random draws.
        batch_images: images at once.
    """
    split = target.split
    crafted = Crafted(
        items=list(items),
        image=target.clean_image.copy(),
        captions=list(split.captions),
        caption_true=np.full(len(split.captions), UNKNOWN, dtype=np.int8),
    )
    bar = progress_bar(total=len(items), desc=name, unit="image")
    for batch in source.batches(items, batch_images):
        assert batch.numbers is not None
        found = attack(
            source.model,
            batch,
            threat_model=threat_model,
            language=language,
            noise=ItemNoise.of(seed, "attack", name, items=batch.numbers),
        )
        _collect(crafted, target, batch.numbers, found, keep)
        bar.update(len(batch.numbers))
    bar.close()
    if language.is_true is not None and threat_model.text is not None:
        rows = [row for item in items for row in target.captions_of(item)]
        crafted.caption_true[rows] = language.is_true(
            [crafted.captions[row] for row in rows], split.caption_image[rows].tolist()
        )
    return crafted


def _collect(
    crafted: Crafted,
    target: Subject,
    items: Sequence[int],
    found: Adversarial,
    keep: Sequence[int],
) -> None:
    """Enter the outcome of one batch."""
    # An image that stayed as it was keeps its clean row: the last bits of an embedding depend on
    # what else is in its batch.
    moved = (found.perturbation > 0).nonzero().flatten().tolist()
    if moved:
        pixels = found.images[moved].to(target.model.device)
        crafted.image[[items[at] for at in moved]] = target.embed_pixels(pixels)
    rows = [row for item in items for row in target.captions_of(item)]
    for row, caption in zip(rows, found.captions, strict=True):
        crafted.captions[row] = caption
    for item in set(keep) & set(items):
        crafted.kept[item] = found.images[list(items).index(item)].cpu().numpy()
    for name in (
        *("perturbation", "words_changed", "characters_changed"),
        *("zero_gradients", "image_passes"),
    ):
        crafted.sizes.setdefault(name, []).append(getattr(found, name).cpu())
