"""What an augmenter is: training items in, one further caption or picture of each out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from mmrobust.data.prepared import Lexicon, Split

Modality = Literal["caption", "image"]
Pictures = NDArray[np.uint8]


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """What is augmented, and what is known of it; of the training split alone.

    Fields:
        split: the training split.
        lexicon: of the dataset's language.
        dataset: section `dataset` of the study, with its `name`.
        data_seed: with which it was prepared.
        device: where models run.
    """

    split: Split
    lexicon: Lexicon
    dataset: Mapping[str, Any]
    data_seed: int
    device: str


@dataclass(frozen=True, eq=False)
class Sources:
    """What one pass starts from.

    Fields:
        items: (R,) rows of the split's images, ascending.
        captions: (R,) rows of the split's captions, the first of each item.
        number: which of the items' augmentations this pass makes, from 0.
    """

    items: NDArray[np.int64]
    captions: NDArray[np.int64]
    number: int


@dataclass(frozen=True, eq=False)
class Made:
    """What one pass made of R items.

    Fields:
        values: R captions, or pictures uint8 (R, H, W, 3).
        true: (R,) bool, whether a picture shows what its item's first caption says; None where
            nobody knows, and for captions, whose truth the dataset decides.
        sources: (R,) rows of the training captions that were read, -1 where none was; None for
            the items' first captions, or where no item's was.
        shows: (R,) which of the R items' scene a picture shows; None where nobody knows.
    """

    values: Sequence[str] | Pictures
    true: NDArray[np.bool_] | None = None
    sources: NDArray[np.int64] | None = None
    shows: NDArray[np.int64] | None = None


Generate = Callable[[Sources, np.random.Generator], Made]
"""One caption or picture of each item; draws come from the generator alone, so that the same pass
makes the same."""


@dataclass(frozen=True, kw_only=True)
class Augmenter(ABC):
    """A frozen record of how captions or pictures are made."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    reads: ClassVar[Modality]
    writes: ClassVar[Modality]
    prompted: ClassVar[bool] = False
    """Whether what an augmenter makes of images may come from the item's first caption too."""
    of_dataset: ClassVar[str | None] = None
    """The only dataset that can be augmented this way; None for any."""

    @abstractmethod
    def open(self, source: Source) -> Generate:
        """Load what is needed, once a process, and return what generates."""

    def model_folder(self) -> Path | None:
        """The folder that a model is read from; None if there is none, or by name on a hub."""
        name = getattr(self, "model", None)
        return Path(name) if name is not None and Path(name).is_dir() else None

    def draw_number(self, number: int) -> int:
        """Which draw the `number`-th augmentation of an item is; equal ones are made once."""
        return number
