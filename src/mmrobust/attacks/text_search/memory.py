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
from mmrobust.models.encoding import embed_captions

T = TypeVar("T")

MAX_ROWS = 16_384
"""Embeddings of captions that are kept; 32 MB of a CLIP ViT-B. More are computed again."""


class TextMemory:
    """Embeddings of captions under one model, and facts of captions by name."""

    def __init__(self, model: DualEncoder, *, max_rows: int = MAX_ROWS) -> None:
        self.model = model
        self._max_rows = max_rows
        self._rows: dict[str, Tensor] = {}
        self._facts: dict[Hashable, dict[str, object]] = {}

    def embed(self, captions: Sequence[str]) -> Tensor:
        """Unit-norm embeddings (n, D); a caption that is known is not encoded again."""
        place: dict[str, int] = {}
        for caption in captions:
            if caption not in self._rows:
                place.setdefault(caption, len(place))
        new = embed_captions(self.model, list(place)) if place else None
        if new is not None:
            self._remember(list(place), new)
        if len(place) == len(captions):
            assert new is not None
            return new
        rows = [self._rows[c] if c in self._rows else new[place[c]] for c in captions]  # type: ignore[index]
        return torch.stack(rows)

    def _remember(self, captions: Sequence[str], embedded: Tensor) -> None:
        free = self._max_rows - len(self._rows)
        if free < len(captions):
            embedded = embedded[:free].clone()  # views of the whole would keep all of it alive
        self._rows.update(zip(captions, embedded, strict=False))

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
