"""What text attacks on one batch need more than once, kept until the batch is done.

Candidates and most orders of importance depend on the original caption alone, and the same
changed captions come up again when a caption is attacked anew from its original: SGA's second
pass finds nearly all it needs here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from mmrobust.models.base import DualEncoder
from mmrobust.models.encoding import read_captions

T = TypeVar("T")

MAX_ROWS = 16_384
"""Captions that are kept; 32 MB of a CLIP ViT-B, and 10 MB at most to tell them apart. More are
computed again."""


class TextMemory:
    """Embeddings of captions under one model, and facts of captions by name."""

    def __init__(self, model: DualEncoder, *, max_rows: int = MAX_ROWS) -> None:
        self.model = model
        self._max_rows = max_rows
        self._rows: dict[str, tuple[Tensor, bytes]] = {}
        self._facts: dict[Hashable, dict[str, object]] = {}

    def embed(self, captions: Sequence[str]) -> Tensor:
        """Unit-norm embeddings (n, D); a caption that is known is not encoded again."""
        return self.read(captions)[0]

    def read(self, captions: Sequence[str]) -> tuple[Tensor, list[bytes]]:
        """Embeddings as of `embed`, and what the model reads of each caption.

        Of captions that it reads alike, embeddings are equal to the last bit if they come in one
        call; across calls, readings tell.
        """
        new = [caption for caption in dict.fromkeys(captions) if caption not in self._rows]
        if len(new) == len(captions):
            embedded, readings = read_captions(self.model, new)
            self._remember(new, embedded, readings)
            return embedded, readings
        rows = {caption: self._rows[caption] for caption in captions if caption in self._rows}
        if new:
            embedded, readings = read_captions(self.model, new)
            self._remember(new, embedded, readings)
            rows.update(zip(new, zip(embedded, readings, strict=True), strict=True))
        return torch.stack([rows[c][0] for c in captions]), [rows[c][1] for c in captions]

    def _remember(
        self, captions: Sequence[str], embedded: Tensor, readings: Sequence[bytes]
    ) -> None:
        free = self._max_rows - len(self._rows)
        if free < len(captions):
            embedded = embedded[:free].clone()  # views of the whole would keep all of it alive
        self._rows.update(zip(captions, zip(embedded, readings, strict=False), strict=False))

    def facts(
        self,
        name: Hashable,
        captions: Sequence[str],
        find: Callable[[Sequence[str]], Sequence[T]],
    ) -> list[T]:
        """What `find` says of each caption; it is asked once for all that are not known yet."""
        known = self._facts.setdefault(name, {})
        new = [caption for caption in dict.fromkeys(captions) if caption not in known]
        if new:
            known.update(zip(new, find(new), strict=True))
        return [known[caption] for caption in captions]  # type: ignore[misc]
