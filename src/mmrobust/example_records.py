"""The file of a few attacked items to look at, one row an item; read and written without torch."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmrobust.artifacts import MAKE, remade, replacing
from mmrobust.disk import missing
from mmrobust.errors import UserError

SCHEMA = pa.schema(
    [
        ("image", pa.int32()),
        ("clean", pa.binary()),
        ("adversarial", pa.binary()),
        ("perturbation", pa.binary()),
        ("magnification", pa.float32()),
        ("captions", pa.list_(pa.string())),
        ("adversarial_captions", pa.list_(pa.string())),
        ("captions_true", pa.list_(pa.int8())),
        ("i2t_rank", pa.int32()),
        ("adversarial_i2t_rank", pa.int32()),
        ("t2i_ranks", pa.list_(pa.int32())),
        ("adversarial_t2i_ranks", pa.list_(pa.int32())),
    ]
)
"""Columns: `perturbation` is 0.5 + magnification x (adversarial - clean); the magnification takes
the largest change of a pixel to the edge of the range. Ranks are of the protocol own_pair with
one-image labels in the main gallery."""


def write_examples(path: Path, examples: pd.DataFrame) -> None:
    """Write examples as Parquet, atomically."""
    arrays = [pa.array(examples[field.name].tolist(), type=field.type) for field in SCHEMA]
    with replacing(path) as temporary:
        table = pa.Table.from_arrays(arrays, schema=SCHEMA)
        pq.write_table(table, temporary, write_page_checksum=True)


@remade()
def read_examples(path: Path) -> pd.DataFrame:
    """Examples at `path`; anything amiss is a `UserError`."""
    try:
        table = pq.read_table(path, use_threads=False, page_checksum_verification=True)
    except FileNotFoundError:
        raise missing(path, MAKE) from None
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None
    if not table.schema.equals(SCHEMA):
        raise UserError(f"{path}: columns must be {', '.join(SCHEMA.names)}")
    examples: pd.DataFrame = table.to_pandas()
    return examples
