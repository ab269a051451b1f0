"""Flickr8k: 8,000 photographs with five human captions each, in the official layout."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mmrobust.artifacts import building
from mmrobust.data.file_tree import FileTree, open_tree
from mmrobust.data.flickr8k_text import CAPTIONS, LISTS, check_listed, read_captions, read_lists
from mmrobust.data.lexicon import WordPairs, build_lexicon
from mmrobust.data.photographs import decode_photograph
from mmrobust.data.prepared import (
    SPLITS,
    Lexicon,
    Split,
    create_images,
    one_image_positives,
    publish,
    write_labels,
)
from mmrobust.errors import UserError, unknown_name
from mmrobust.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class Flickr8k:
    """Flickr8k (Hodosh, Young and Hockenmaier 2013, doi 10.1613/jair.3994).

    Read from `Flickr8k_Dataset.zip` (`Flicker8k_Dataset/<name>.jpg`) and `Flickr8k_text.zip`
    (`Flickr8k.token.txt`: `<name>#<0-4><TAB><caption>`; `Flickr_8k.<split>Images.txt`), or from
    the same files unpacked. The official archives hold more than the splits use: 91 photographs
    in no split, folders of macOS, and five captions of `2258277193_586949ec62.jpg.1`, of which
    there is no photograph. Captions of what no split lists are passed over.

    Deviations:
        image_size: 64; the literature feeds CLIP with 224. A small model trained from scratch on
            6,000 photographs gains nothing from more.
    """

    raw: str = "data/raw/flickr8k"
    """Folder of the two archives, or of their unpacked files."""
    image_size: int = 64
    """Side of the prepared square images in pixels."""
    lexicon: str = "data/raw/lexicon"
    """Folder of the files of word pairs from which the text attacks' lexicon is made."""
    max_substitutes: int = 10
    """Synonyms kept for a word of the lexicon."""
    splits: Mapping[str, int | None] = field(default_factory=dict)
    """Split -> how many of its first images are used; null or left out: all."""
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Raw file -> {url, sha256} for `download-data`; preparing does not read it."""
    accept_terms: bool = False
    """Whether the terms of what is downloaded are accepted; preparing does not read it."""

    raw_files: ClassVar[tuple[str, ...]] = ("Flickr8k_Dataset.zip", "Flickr8k_text.zip")
    unpacked: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Flickr8k_Dataset.zip": ("Flicker8k_Dataset",),
        "Flickr8k_text.zip": (CAPTIONS, *LISTS.values()),
    }
    raw_datasets: ClassVar[Mapping[str, str]] = {"flickr8k": "raw", "lexicon": "lexicon"}
    licence: ClassVar[str] = (
        "photographs: their Flickr authors', for non-commercial research and education only; "
        "captions: as published with Hodosh, Young and Hockenmaier 2013; not to be redistributed"
    )
    terms: ClassVar[str] = (
        "The photographs belong to their authors on Flickr. By downloading them you agree to use "
        "them for non-commercial research and education only and not to pass them on."
    )
    redistributable: ClassVar[bool] = False
    decides_truth: ClassVar[bool] = False
    has_grammar: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the fields' values."""
        for name in ("image_size", "max_substitutes"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UserError(f"dataset.{name}: {value!r}, allowed: an integer of at least 1")
        files = (*self.raw_files, *WordPairs.raw_files)
        for name in self.sources:
            if name not in files:
                raise unknown_name("file under dataset.sources", name, files)
        for split, limit in self.splits.items():
            if split not in SPLITS:
                raise unknown_name("split under dataset.splits", split, SPLITS)
            if limit is not None and (not isinstance(limit, int) or limit < 1):
                raise UserError(
                    f"dataset.splits.{split}: {limit!r}, allowed: null or an integer of at least 1"
                )

    def prepare(self, out: Path, *, seed: int) -> None:
        """Prepare the dataset into the folder `out`; nothing of it is random, `seed` is unused.

        Photographs are decoded once, one at a time, out of the archive into the output.

        Raises:
            UserError: bad raw files, naming the file and, where there is one, the line.
        """
        with self._open_text() as text, self._open_photographs() as photographs:
            names = read_lists(text)
            captions = read_captions(text, names)
            names = {split: self._limited(split, listed) for split, listed in names.items()}
            check_listed(names, photographs, text)
            kept = {split: [captions[name] for name in names[split]] for split in SPLITS}
            lexicon = self._lexicon(kept)
            resolutions: set[str] = set()
            with building(out) as folder:
                for split in SPLITS:
                    images = create_images(folder, split, len(names[split]), self.image_size)
                    resolutions |= self._decode(photographs, names[split], images, split)
                    write_labels(folder, split, _labelled(images, kept[split]))
                facts = {
                    "dataset": "flickr8k",
                    "licence": self.licence,
                    "redistributable": self.redistributable,
                    "source_resolution": resolutions.pop() if len(resolutions) == 1 else "varying",
                }
                publish(folder, out, lexicon, facts)

    def _open_text(self) -> contextlib.AbstractContextManager[FileTree]:
        folders = (".", "Flickr8k_text")
        archive, raw = self.raw_files[1], Path(self.raw)
        return open_tree(raw, archive, folders, sample=CAPTIONS, dataset="flickr8k")

    def _open_photographs(self) -> contextlib.AbstractContextManager[FileTree]:
        folders = ("Flicker8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset", "Flickr8k_Dataset")
        archive, raw = self.raw_files[0], Path(self.raw)
        return open_tree(raw, archive, folders, sample="*.jpg", dataset="flickr8k")

    def _lexicon(self, captions: Mapping[str, list[list[str]]]) -> Lexicon:
        """Lexicon of the captions, given as split -> photograph -> captions."""
        flat = {split: [c for group in captions[split] for c in group] for split in SPLITS}
        everywhere = (caption for split in SPLITS for caption in flat[split])
        return build_lexicon(
            Path(self.lexicon), everywhere, flat["train"], max_substitutes=self.max_substitutes
        )

    def _limited(self, split: str, names: list[str]) -> list[str]:
        """The first names of a split, as many as are asked for."""
        limit = self.splits.get(split)
        if limit is not None and limit > len(names):
            raise UserError(
                f"dataset.splits.{split}: {limit}, but the split has {len(names)} images"
            )
        return names[:limit]

    def _decode(
        self, photographs: FileTree, names: list[str], images: np.memmap, split: str
    ) -> set[str]:
        """Fill `images` under a progress bar; the photographs' own sizes are returned."""
        resolutions = set()
        bar = progress_bar(iterable=names, desc=f"flickr8k {split}", unit="image")
        for row, name in enumerate(bar):
            data = photographs.read(name)
            where = photographs.where(name)
            images[row], resolution = decode_photograph(data, self.image_size, where)
            resolutions.add(resolution)
        return resolutions


def _labelled(images: np.ndarray, captions: list[list[str]]) -> Split:
    """Split of `images` and their captions, each caption true of its own image."""
    caption_image = np.repeat(np.arange(len(captions)), [len(group) for group in captions])
    flat = [caption for group in captions for caption in group]
    return Split(images, flat, caption_image, one_image_positives(caption_image, len(captions)))
