"""A model with the split it is evaluated on, and the clean embeddings of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmrobust.attacks.objectives import Distractors
from mmrobust.attacks.run import RetrievalBatch
from mmrobust.attacks.text_search.base import Language
from mmrobust.data.prepared import Split, load_lexicon
from mmrobust.data.truth import truth_of
from mmrobust.errors import UserError
from mmrobust.evaluation.retrieval import Embeddings, gallery_blocks
from mmrobust.models.dual_encoder import OpenClipDualEncoder, load_model
from mmrobust.models.encoding import embed_images, read_captions, to_pixels
from mmrobust.models.masked_lm import load_masked_lm
from mmrobust.randomness import numpy_generator

Floats = NDArray[np.float32]


def drawn_items(n_images: int, items: int) -> list[int]:
    """A fixed draw of images of a split, ascending; a smaller draw is a part of a larger one.

    Raises:
        UserError: there are fewer images than items.
    """
    if items > n_images:
        raise UserError(
            f"evaluation: {items} items of a split of {n_images} images (allowed: 1..{n_images})"
        )
    order = numpy_generator(0, "drawn items", n_images).permutation(n_images)
    return sorted(order[:items].tolist())


@dataclass(frozen=True)
class Subject:
    """A model, the split, and where galleries are cut.

    Fields:
        model: the dual encoder.
        split: images and captions.
        gallery_images: images of a gallery; the distractors of an item are its own gallery's.
    """

    model: OpenClipDualEncoder
    split: Split
    gallery_images: int

    @cached_property
    def clean_image(self) -> Floats:
        """Embeddings (N, D) of the clean images."""
        n_images = len(self.split.images)
        rows = [range(at, min(at + 256, n_images)) for at in range(0, n_images, 256)]
        return np.concatenate([self.embed_pixels(self.pixels(chunk)) for chunk in rows])

    @cached_property
    def clean_text(self) -> Floats:
        """Embeddings (C, D) of the clean captions."""
        return self._clean_read[0]

    def pixels(self, rows: Sequence[int]) -> torch.Tensor:
        """Images (n, 3, H, W) of the split on the model's device."""
        return to_pixels(self.split.images[list(rows)]).to(self.model.device)

    def embed_pixels(self, images: torch.Tensor) -> Floats:
        """Embeddings (n, D) of images (n, 3, H, W)."""
        return embed_images(self.model, images).cpu().numpy()

    def embed_attacked(self, captions: Sequence[str]) -> Floats:
        """Embeddings (n, D) of captions; one that reads like a clean caption takes its row.

        The last bits of an embedding depend on what else is in its batch. Equal captions must tie
        exactly, whoever wrote them, since ties count against the model.
        """
        rows = {caption: row for row, caption in enumerate(self.split.captions)}
        new = [caption for caption in dict.fromkeys(captions) if caption not in rows]
        known = self.clean_text
        if new:
            embedded, readings = self._read(new)
            for row, (caption, reading) in enumerate(zip(new, readings, strict=True)):
                rows[caption] = self._clean_rows.get(reading, len(known) + row)
            known = np.concatenate([known, embedded])
        return known[[rows[caption] for caption in captions]]

    @cached_property
    def _clean_read(self) -> tuple[Floats, list[bytes]]:
        return self._read(self.split.captions)

    @cached_property
    def _clean_rows(self) -> dict[bytes, int]:
        """A row of `clean_text` by what the model reads of its caption."""
        return {reading: row for row, reading in enumerate(self._clean_read[1])}

    def _read(self, captions: Sequence[str]) -> tuple[Floats, list[bytes]]:
        embedded, readings = read_captions(self.model, captions)
        return embedded.cpu().numpy(), readings

    def embeddings(
        self, adversarial_image: Floats | None = None, adversarial_text: Floats | None = None
    ) -> Embeddings:
        """Clean beside adversarial embeddings; without the latter, the clean ones twice."""
        return Embeddings(
            clean_image=self.clean_image,
            clean_text=self.clean_text,
            adversarial_image=self.clean_image if adversarial_image is None else adversarial_image,
            adversarial_text=self.clean_text if adversarial_text is None else adversarial_text,
            caption_image=self.split.caption_image,
            positives=self.split.positives,
        )

    def captions_of(self, image: int) -> range:
        """Rows of the captions of one image."""
        start, stop = np.searchsorted(self.split.caption_image, [image, image + 1])
        return range(int(start), int(stop))

    def batches(self, items: Sequence[int], batch_images: int) -> Iterator[RetrievalBatch]:
        """Items with all their captions, and the gallery that each batch is ranked in.

        Args:
            items: rows of images, ascending.
            batch_images: images at once, all of one gallery.
        """
        for block in gallery_blocks(len(self.split.images), self.gallery_images):
            inside = [item for item in items if item in block]
            distractors = self._distractors(block) if inside else None
            for at in range(0, len(inside), batch_images):
                rows = inside[at : at + batch_images]
                captions = [list(self.captions_of(row)) for row in rows]
                owners = np.repeat(np.arange(len(rows)), [len(own) for own in captions])
                yield RetrievalBatch(
                    images=self.pixels(rows),
                    captions=tuple(self.split.captions[c] for own in captions for c in own),
                    caption_image=torch.from_numpy(owners),
                    numbers=tuple(rows),
                    distractors=distractors,
                    own=torch.tensor(rows) - block.start,
                )

    def _distractors(self, block: range) -> Distractors:
        first, last = np.searchsorted(self.split.caption_image, [block.start, block.stop])
        device = self.model.device
        return Distractors(
            image=torch.from_numpy(self.clean_image[block.start : block.stop]).to(device),
            text=torch.from_numpy(self.clean_text[first:last]).to(device),
            text_image=torch.from_numpy(self.split.caption_image[first:last] - block.start).to(
                device
            ),
        )


def load_subject(model_folder: Path, split: Split, *, device: str, gallery_images: int) -> Subject:
    """Load a checkpoint as the subject of an evaluation."""
    return Subject(load_model(model_folder).to(device), split, gallery_images)


def load_language(
    data: Path,
    masked_lm: Path | None,
    *,
    dataset: Mapping[str, Any],
    split: str,
    data_seed: int,
    device: str,
) -> Language:
    """All that attackers may know of a prepared dataset's language."""
    return Language(
        **vars(load_lexicon(data)),
        masked_lm=None if masked_lm is None else load_masked_lm(masked_lm, device=device),
        is_true=truth_of(dataset, split, data_seed=data_seed),
    )
