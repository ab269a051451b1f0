"""Augmented training data on disk: captions or pictures, and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from mmrobust.artifacts import read_json, sha256_file, write_json
from mmrobust.data.prepared import MANIFEST, building, load_manifest
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

UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Augmented:
    """Further captions or pictures of the training items.

    Fields:
        items: one row of `SCHEMA` each, A rows.
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


def write_augmented(out: Path, augmented: Augmented) -> None:
    """Write an augmented set to the folder `out`, the manifest last.

    The manifest gets the digests of the other files.
    """
    with building(out) as folder:
        table = pa.Table.from_pandas(augmented.items, schema=SCHEMA, preserve_index=False)
        pq.write_table(table.replace_schema_metadata(None), folder / ITEMS)
        np.save(folder / IMAGES, np.ascontiguousarray(augmented.images))
        sp.save_npz(folder / POSITIVES, augmented.positives)
        digests = {name: sha256_file(folder / name) for name in FILES if name != MANIFEST}
        write_json(folder / MANIFEST, {**augmented.manifest, "sha256": digests})
        out.mkdir(parents=True, exist_ok=True)
        (out / MANIFEST).unlink(missing_ok=True)
        for name in FILES:
            (folder / name).replace(out / name)


def load_augmented(root: Path, *, data: Path) -> Augmented:
    """Load an augmented set of the prepared dataset in `data`; images stay on disk.

    Raises:
        UserError: naming the file that is missing, altered or of another dataset.
    """
    manifest = read_json(root / MANIFEST)
    if not isinstance(manifest, dict) or not {"dataset_sha256", "sha256"} <= manifest.keys():
        raise UserError(f"{root / MANIFEST}: not the manifest of an augmented set")
    if manifest["dataset_sha256"] != train_digests(data):
        raise UserError(f"{root}: made from other data than {data}; augment it again")
    for name in (ITEMS, POSITIVES):
        if not (root / name).is_file():
            raise UserError(f"{root / name}: file is missing; augment the dataset again")
        if sha256_file(root / name) != manifest["sha256"].get(name):
            raise UserError(f"{root / name}: differs from {MANIFEST}; augment the dataset again")
    try:
        images = np.load(root / IMAGES, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{root / IMAGES}: corrupt or missing ({error})") from None
    return Augmented(
        items=pq.read_table(root / ITEMS).to_pandas(),
        images=images,
        positives=sp.csr_array(sp.load_npz(root / POSITIVES)),
        manifest=manifest,
    )


def train_digests(data: Path) -> dict[str, str]:
    """Digests of the files of the training split, and of nothing else of a prepared dataset."""
    prepared: dict[str, str] = load_manifest(data)["sha256"]
    return {name: value for name, value in prepared.items() if name.startswith("train/")}
