"""Augmented training data on disk: captions or pictures, and where each comes from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from mmrobust.artifacts import MAKE, read_json, remade, sha256_file, write_json
from mmrobust.data.prepared import MANIFEST, load_manifest
from mmrobust.disk import missing
from mmrobust.errors import UserError

ITEMS, IMAGES, POSITIVES = "items.parquet", "images.npy", "positives.npz"
FILES = (ITEMS, IMAGES, POSITIVES, MANIFEST)

SCHEMA = pa.schema(
    [
        ("item", pa.int32()),
        ("number", pa.int16()),
        ("source_caption", pa.int32()),
        ("caption", pa.string()),
        ("changed", pa.bool_()),
        ("true", pa.int8()),
    ]
)
"""One row of what was made: the row of the training image that it belongs to; which of the
item's augmentations it is, from 0; the row of the training caption that it was made from, -1 if
from the picture alone; the caption, null for a picture; whether it differs from the item's first
caption or its picture; and whether it is true of its item: 1, 0, or -1 where nobody decides. Rows
are sorted by number, then item, so that the first of n are a prefix."""

SHOWS = pa.field("shows_item", pa.int32())
"""A further column, where it is known: the item whose scene a picture shows, or what was imagined
of whose caption. It is the row's own item, or another of a picture misaligned on purpose."""

UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Augmented:
    """Further captions or pictures of the training items.

    Fields:
        items: one row of `SCHEMA` each, A rows; `SHOWS` may follow.
        images: uint8 (A, H, W, 3), or (0, H, W, 3) for captions.
        positives: bool (A, N), the caption is true of the training image; (0, N) for pictures.
        manifest: how it was made, and from what.
    """

    items: pd.DataFrame
    images: np.ndarray
    positives: sp.csr_array
    manifest: Mapping[str, Any]

    def first(self, n: int) -> Augmented:
        """The first `n` augmentations of each item."""
        rows = int((self.items["number"] < n).sum())
        return Augmented(
            items=self.items.iloc[:rows],
            images=self.images[:rows],
            positives=sp.csr_array(self.positives[:rows]),
            manifest=self.manifest,
        )


@contextlib.contextmanager
def open_images(folder: Path, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """The file of images uint8 `shape` in a `folder` that is built; pixels are written in order."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with (folder / IMAGES).open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        yield stream


def write_augmented(folder: Path, augmented: Augmented) -> None:
    """Add all but the images to a built `folder`, which holds them.

    The manifest gets the digests of the other files.
    """
    schema = SCHEMA.append(SHOWS) if SHOWS.name in augmented.items else SCHEMA
    table = pa.Table.from_pandas(augmented.items, schema=schema, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(None), folder / ITEMS)
    sp.save_npz(folder / POSITIVES, augmented.positives)
    digests = {name: sha256_file(folder / name) for name in FILES if name != MANIFEST}
    write_json(folder / MANIFEST, {**augmented.manifest, "sha256": digests})


@remade()
def load_augmented(root: Path, *, data: Path) -> Augmented:
    """Load an augmented set of the prepared dataset in `data`; images stay on disk.

    Raises:
        UserError: naming the file that is missing, altered or of another dataset.
    """
    manifest = read_json(root / MANIFEST)
    if not isinstance(manifest, dict) or not {"dataset_sha256", "sha256"} <= manifest.keys():
        raise UserError(f"{root / MANIFEST}: not the manifest of an augmented set")
    if manifest["dataset_sha256"] != train_digests(data):
        raise UserError(f"{root}: made from other data than {data}")
    for name in (ITEMS, POSITIVES):
        if not (root / name).is_file():
            raise missing(root / name, MAKE)
        if sha256_file(root / name) != manifest["sha256"].get(name):
            raise UserError(f"{root / name}: differs from {MANIFEST}")
    return Augmented(
        items=pq.read_table(root / ITEMS).to_pandas(),
        images=load_images(root),
        positives=sp.csr_array(sp.load_npz(root / POSITIVES)),
        manifest=manifest,
    )


def load_images(folder: Path) -> np.ndarray:
    """Images of an augmented set as a memory map; `UserError` naming the file if it is bad."""
    try:
        images: np.ndarray = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / IMAGES}: corrupt or missing ({error})") from None
    return images


def train_digests(data: Path) -> dict[str, str]:
    """Digests of the files of the training split, and of nothing else of a prepared dataset."""
    prepared: dict[str, str] = load_manifest(data)["sha256"]
    return {name: value for name, value in prepared.items() if name.startswith("train/")}
