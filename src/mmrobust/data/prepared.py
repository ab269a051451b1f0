"""The one format every dataset is prepared into, and training and evaluation read.

A prepared dataset is a folder of plain files (`FILES`): uint8 images that are memory-mapped, so
that training never waits for a decoder, a caption table, a sparse matrix of which captions are
true of which images, a lexicon for the text attacks, and a manifest with the sha256 of each.
Equal content gives equal bytes: no file holds a time, a path or a random order.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from mmrobust.artifacts import (
    MAKE,
    building,
    move_built,
    read_json,
    remade,
    sha256_file,
    write_json,
)
from mmrobust.disk import missing
from mmrobust.errors import UserError, unknown_name

SPLITS = ("train", "dev", "test")
SPLIT_FILES = ("images.npy", "captions.parquet", "positives.npz")
MANIFEST = "manifest.json"
LEXICON = "lexicon.json"
FILES = (LEXICON, *(f"{split}/{name}" for split in SPLITS for name in SPLIT_FILES), MANIFEST)

_WORD_MAPS = ("synonyms", "alternatives", "antonyms")
_CAPTION_SCHEMA = pa.schema([("caption", pa.string()), ("image", pa.int32())])


@dataclass(frozen=True, eq=False)
class Split:
    """One split of an image-caption dataset; N images, C captions."""

    images: np.ndarray
    """uint8 (N, H, W, 3), RGB; a read-only memory map when it was loaded."""
    captions: list[str]
    """C texts, none of them empty."""
    caption_image: np.ndarray
    """int64 (C,), the row of `images` each caption was written for; ascending."""
    positives: sp.csr_array
    """bool (C, N): the caption is true of the image."""


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """What an attacker knows of a dataset's language.

    A word is in lower case and holds no space; it never stands among its own substitutes.
    """

    synonyms: Mapping[str, tuple[str, ...]]
    """A word -> substitutes that keep the meaning, the best first."""
    alternatives: Mapping[str, tuple[str, ...]]
    """A word -> words that can stand in its place whatever they mean, the commonest first; empty
    for a language without a grammar that tells."""
    antonyms: Mapping[str, tuple[str, ...]]
    """A word -> its opposites."""
    stop_words: frozenset[str]
    """Words that carry grammar and no content."""


def one_image_positives(caption_image: np.ndarray, n_images: int) -> sp.csr_array:
    """Positives matrix (C, N) of the classic labels: a caption is true of its own image only."""
    n = len(caption_image)
    indices = caption_image.astype(np.int32)
    return sp.csr_array(
        (np.ones(n, dtype=bool), indices, np.arange(n + 1, dtype=np.int32)), shape=(n, n_images)
    )


def write_prepared(
    out: Path,
    splits: Mapping[str, Split],
    *,
    lexicon: Lexicon,
    dataset: str,
    licence: str,
    redistributable: bool,
    source_resolution: str | None,
) -> None:
    """Write a prepared dataset to the folder `out`.

    Args:
        out: folder to fill; files of an earlier version are replaced, the manifest last.
        splits: exactly `train`, `dev` and `test`.
        lexicon: what the text attacks know of the captions' language.
        dataset: registry name.
        licence: terms of the images and captions, one line.
        redistributable: whether artifacts that hold them may be pushed.
        source_resolution: "WxH" of the source photographs, "varying", or None if drawn.

    Raises:
        UserError: a split that contradicts itself, or a lexicon of what are no words.
    """
    with building(out) as folder:
        for name, split in splits.items():
            images = create_images(folder, name, len(split.images), split.images.shape[1])
            if split.images.shape != images.shape or split.images.dtype != np.uint8:
                raise UserError(
                    f"{out}: images of split {name!r} are {split.images.dtype} "
                    f"{split.images.shape}, allowed: uint8 (N, S, S, 3)"
                )
            images[:] = split.images
            write_labels(folder, name, split)
        facts = {"dataset": dataset, "licence": licence, "redistributable": redistributable}
        publish(folder, out, lexicon, facts | {"source_resolution": source_resolution})


def create_images(folder: Path, split: str, n_images: int, image_size: int) -> np.memmap:
    """New writable memory map uint8 (N, S, S, 3) at the place of the split's images.

    Its place on the disk is taken at once: a disk that fills up under a memory map kills the
    process without a word.
    """
    path = folder / split / "images.npy"
    path.parent.mkdir()
    shape = (n_images, image_size, image_size, 3)
    if 0 in shape:
        raise UserError(f"split {split!r}: no images")
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return images


def write_labels(folder: Path, name: str, split: Split) -> None:
    """Write captions and positives of a split in canonical form."""
    _check(split, f"split {name!r}")
    columns = [pa.array(split.captions, pa.string()), pa.array(split.caption_image, pa.int32())]
    table = pa.Table.from_arrays(columns, schema=_CAPTION_SCHEMA)
    pq.write_table(table, folder / name / "captions.parquet")
    positives = sp.csr_array(split.positives.astype(np.bool_, copy=True))
    positives.sum_duplicates()
    positives.eliminate_zeros()
    canonical = sp.csr_array(
        (positives.data, positives.indices.astype(np.int32), positives.indptr.astype(np.int32)),
        shape=positives.shape,
    )
    sp.save_npz(folder / name / "positives.npz", canonical)


def publish(folder: Path, out: Path, lexicon: Lexicon, facts: Mapping[str, object]) -> None:
    """Add lexicon and manifest to a built `folder` and move its files to `out`."""
    words = _lexicon_json(lexicon)
    _read_lexicon(words, f"{out}: lexicon")
    write_json(folder / LEXICON, words)
    loaded = {split: _read_labels(folder, split) for split in SPLITS}
    sizes = {split.images.shape[1] for split in loaded.values()}
    if len(sizes) > 1:
        raise UserError(f"{out}: splits differ in image size: {sorted(sizes)}")
    manifest = {
        **facts,
        "splits": {
            name: {"images": len(split.images), "captions": len(split.captions)}
            for name, split in loaded.items()
        },
        "image_size": sizes.pop(),
        "sha256": {name: sha256_file(folder / name) for name in FILES if name != MANIFEST},
    }
    write_json(folder / MANIFEST, manifest)
    move_built(folder, out, FILES)


@remade()
def load_manifest(root: Path) -> dict[str, Any]:
    """Manifest of the prepared dataset in `root`; `UserError` naming the file if it is bad."""
    manifest = read_json(root / MANIFEST)
    known = {"dataset", "splits", "image_size", "source_resolution", "licence", "redistributable"}
    if not isinstance(manifest, dict) or not known | {"sha256"} <= manifest.keys():
        raise UserError(f"{root / MANIFEST}: not the manifest of a prepared dataset")
    listed = manifest["sha256"] if isinstance(manifest["sha256"], dict) else {}
    for name in FILES:
        if name != MANIFEST and name not in listed:
            raise UserError(f"{root / MANIFEST}: lists no sha256 of {name}")
    return manifest


@remade()
def load_lexicon(root: Path) -> Lexicon:
    """Lexicon of the prepared dataset in `root`; `UserError` naming file and key if it is bad."""
    return _read_lexicon(read_json(root / LEXICON), str(root / LEXICON))


@remade()
def load_split(root: Path, split: str) -> Split:
    """Load a split of the prepared dataset in `root`; images stay on disk.

    The small files are checked against the manifest's sha256. Images are checked by shape and
    length only: hashing them would read the whole array, which the memory map exists to avoid.

    Raises:
        UserError: naming the file that is missing, altered, corrupt or inconsistent.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    manifest = load_manifest(root)
    for name in SPLIT_FILES[1:]:
        path = root / split / name
        if not path.is_file():
            raise missing(path, MAKE)
        if sha256_file(path) != manifest["sha256"].get(f"{split}/{name}"):
            raise UserError(f"{path}: differs from {MANIFEST}")
    loaded = _read_labels(root, split)
    found = {"images": len(loaded.images), "captions": len(loaded.captions)}
    if found != manifest["splits"].get(split) or loaded.images.shape[1] != manifest["image_size"]:
        raise UserError(f"{root / split / 'images.npy'}: shape differs from {MANIFEST}")
    return loaded


def _lexicon_json(lexicon: Lexicon) -> dict[str, Any]:
    """The lexicon as it stands in its file; keys are sorted when it is written."""
    maps = {
        name: {word: list(others) for word, others in getattr(lexicon, name).items()}
        for name in _WORD_MAPS
    }
    return {**maps, "stop_words": sorted(lexicon.stop_words)}


def _read_lexicon(value: Any, where: str) -> Lexicon:
    """Read what `_lexicon_json` makes; a `UserError` starts with `where` and names the key."""
    keys = (*_WORD_MAPS, "stop_words")
    if not isinstance(value, dict):
        raise UserError(f"{where}: not a lexicon (allowed: an object of {', '.join(keys)})")
    for key in keys:
        if key not in value:
            raise UserError(f"{where}: {key!r} is missing")
    for key in value:
        if key not in keys:
            raise UserError(f"{where}: {unknown_name('key', key, keys)}")
    synonyms, alternatives, antonyms = (
        _read_word_map(value[name], f"{where}: {name}") for name in _WORD_MAPS
    )
    return Lexicon(
        synonyms=synonyms,
        alternatives=alternatives,
        antonyms=antonyms,
        stop_words=frozenset(_read_words(value["stop_words"], f"{where}: stop_words")),
    )


def _read_word_map(value: Any, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise UserError(f"{where}: not a mapping of words to lists of words")
    _read_words(list(value), where)
    others = {word: _read_words(listed, f"{where}.{word}") for word, listed in value.items()}
    for word, listed in others.items():
        if not listed or word in listed:
            flaw = "lists the word itself" if listed else "lists no words"
            raise UserError(f"{where}.{word}: {flaw}; allowed: one or more others")
    return others


def _read_words(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UserError(f"{where}: {value!r} is not a list of words")
    seen: set[str] = set()
    for word in value:
        if not isinstance(word, str) or word.split() != [word] or word != word.lower():
            raise UserError(f"{where}: {word!r} is not one word in lower case")
        if word in seen:
            raise UserError(f"{where}: {word!r} is listed twice")
        seen.add(word)
    return tuple(value)


def _read_labels(root: Path, split: str) -> Split:
    """Read and check a split's three files, without the manifest."""
    folder = root / split
    path = folder / "images.npy"
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        path = folder / "captions.parquet"
        table = pq.read_table(path)
        path = folder / "positives.npz"
        positives = sp.csr_array(sp.load_npz(path))
    except FileNotFoundError:
        raise missing(path, MAKE) from None
    except (ValueError, OSError, KeyError, pa.ArrowInvalid, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: corrupt ({error})") from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise UserError(
            f"{folder / 'images.npy'}: {images.dtype} {images.shape} is not (N, S, S, 3)"
        )
    if table.schema.remove_metadata() != _CAPTION_SCHEMA:
        raise UserError(
            f"{folder / 'captions.parquet'}: columns are {table.schema.names}, "
            "allowed: caption (string), image (int32)"
        )
    loaded = Split(
        images=images,
        captions=table["caption"].to_pylist(),
        caption_image=table["image"].to_numpy().astype(np.int64),
        positives=positives,
    )
    _check(loaded, str(folder / "captions.parquet"))
    return loaded


def _check(split: Split, where: str) -> None:
    """Raise a `UserError` that starts with `where` unless the split's parts fit together."""
    n, c = len(split.images), len(split.captions)
    rows = np.asarray(split.caption_image)
    if rows.shape != (c,) or split.positives.shape != (c, n):
        raise UserError(
            f"{where}: {c} captions and {n} images, but image rows of shape {rows.shape} and "
            f"positives of shape {split.positives.shape}"
        )
    if c and (rows.min() < 0 or rows.max() >= n):
        raise UserError(
            f"{where}: image rows reach {rows.min()}..{rows.max()}, allowed: 0..{n - 1}"
        )
    if np.any(np.diff(rows) < 0):
        raise UserError(f"{where}: captions are not sorted by image")
    bare = np.setdiff1d(np.arange(n), rows)
    if len(bare):
        raise UserError(f"{where}: image {bare[0]} has no caption")
    empty = [row for row, caption in enumerate(split.captions) if not (caption or "").strip()]
    if empty:
        raise UserError(f"{where}: caption {empty[0]} is empty")
