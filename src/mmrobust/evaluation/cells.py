"""A cell: one model under one attack, as a JSON record and a Parquet table of outcomes.

Nothing in the two files varies between two runs: what does (time, machine, versions) stands in
the run facts beside them. The JSON is written last, so a cell with a record is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmrobust.artifacts import remade, replacing, write_json
from mmrobust.config import EvaluationConfig
from mmrobust.disk import missing
from mmrobust.errors import UserError
from mmrobust.evaluation.metrics import caption_truth, cell_metrics, cell_rates
from mmrobust.evaluation.records import SCHEMA_VERSION, gallery_sizes, read_record
from mmrobust.evaluation.retrieval import LABELS, Embeddings, gallery_blocks, of_items
from mmrobust.intervals import Resampling
from mmrobust.randomness import numpy_generator

CLEAN = "clean"

OUTCOMES_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("protocol", "direction", "labels")]
    + [(name, pa.int32()) for name in ("gallery_images", "gallery", "query", "image", "rank")]
    + [("caption_true", pa.int8())]
)
"""`caption_true`: 1 or 0 for an attacked caption (a t2i query) whose truth is decided, else -1."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Record (the JSON) and per-sample outcomes (the Parquet) of one model and attack."""

    record: dict[str, Any]
    outcomes: pd.DataFrame

    @property
    def name(self) -> str:
        """Name for messages: defence/seed/attack."""
        record = self.record
        return f"{record['defence']}/seed{record['seed']}/{record['attack']}"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Names of what a cell was computed from, all of which its record carries."""

    study: str
    dataset: str
    split: str
    source_resolution: str | None
    defence: str
    seed: int


def gallery_counts(embeddings: Embeddings, *, gallery_images: Sequence[int]) -> dict[str, Any]:
    """Key `counts` of a record, with an entry in `galleries` for each size, the main one first.

    `gallery_captions` is a mean where images differ in their number of captions; positives are
    counted inside a query's own gallery.
    """
    images, captions = len(embeddings.clean_image), len(embeddings.clean_text)
    galleries = []
    for size in gallery_images:
        blocks = gallery_blocks(images, size)
        true_pairs = sum(embeddings.block(block).positives.nnz for block in blocks)
        per_gallery = captions / len(blocks)
        galleries.append(
            {
                "gallery_images": size,
                "galleries": len(blocks),
                "gallery_captions": int(per_gallery) if per_gallery.is_integer() else per_gallery,
                "positives_per_query": {
                    "i2t": true_pairs / images,
                    "t2i": true_pairs / captions,
                },
            }
        )
    return {"images": images, "captions": captions, "galleries": galleries}


def attacked_counts(outcomes: pd.DataFrame) -> dict[str, int]:
    """How many images and captions the outcomes of a cell are about, for its `counts`."""
    queries = outcomes.groupby("direction")["query"].nunique()
    return {"attacked_images": int(queries["i2t"]), "attacked_captions": int(queries["t2i"])}


def build_cell(
    origin: Origin,
    *,
    attack: str,
    attack_config: Mapping[str, Any],
    threat_model: Mapping[str, Any] | None,
    curve: str | None,
    counts: Mapping[str, Any],
    outcomes: pd.DataFrame,
    clean_outcomes: pd.DataFrame | None,
    config: EvaluationConfig,
    checks: Mapping[str, Any],
) -> Cell:
    """Cell with its metrics and intervals computed.

    Args:
        origin: what it was computed from.
        attack: name of the attack; "clean" for none.
        attack_config: JSON-able configuration of the attack.
        threat_model: name, knowledge, image and text budget; None for clean.
        curve: name of the curve that the cell is a point of; None for a cell of its own.
        counts: from `gallery_counts`.
        outcomes: from `retrieval.split_ranks` with `caption_true`; of all items, or of some of
            them under own_pair.
        clean_outcomes: of the same model's clean cell, whole; None if this is it.
        config: cut-offs of recall, and how intervals are resampled.
        checks: what was measured of the attack's budget; `captions_true` is added where the
            outcomes know it.

    Returns:
        A cell without flags, which compare it with the model's other cells.
    """
    if clean_outcomes is not None and len(outcomes) < len(clean_outcomes):
        clean_outcomes = of_items(clean_outcomes, outcomes["image"].unique().tolist())
    rates = cell_rates(outcomes, clean_outcomes, ks=config.ks)
    metrics = []
    for size in gallery_sizes(counts):
        of_size = [rate for rate in rates if rate.gallery_images == size]
        metrics += cell_metrics(of_size, interval_resampling(origin, config))
    truth = caption_truth(outcomes, interval_resampling(origin, config))
    record = {
        "schema_version": SCHEMA_VERSION,
        "study": origin.study,
        "dataset": origin.dataset,
        "split": origin.split,
        "source_resolution": origin.source_resolution,
        "defence": origin.defence,
        "seed": origin.seed,
        "attack": attack,
        "attack_config": dict(attack_config),
        "threat_model": None if threat_model is None else dict(threat_model),
        "curve": curve,
        "protocols": outcomes["protocol"].unique().tolist(),
        "counts": {**counts, **attacked_counts(outcomes)},
        "metrics": metrics,
        "checks": dict(checks) if truth is None else {**checks, "captions_true": truth},
        "flags": [],
    }
    # As it will be read back: of cells just made and cells kept, records are compared.
    return Cell(record=json.loads(json.dumps(record, allow_nan=False)), outcomes=outcomes)


def interval_resampling(origin: Origin, config: EvaluationConfig) -> Resampling:
    """Draws of intervals, anew: all cells and gallery sizes of a seed resample the same images."""
    return Resampling(
        n_resamples=config.n_resamples,
        confidence=config.confidence,
        generator=numpy_generator(origin.seed, "evaluation", "intervals"),
    )


def cell_path(root: Path, *, defence: str, seed: int, attack: str) -> Path:
    """Place of a cell's JSON record under the folder of a study's cells."""
    if attack == "run":
        raise UserError("an attack can't be named 'run': run.json holds the run facts of its cells")
    return root / defence / f"seed{seed}" / f"{attack}.json"


def cell_paths(root: Path) -> list[Path]:
    """Records of all cells under `root`, sorted; `UserError` if there are none."""
    found = sorted(path for path in root.glob("*/seed*/*.json") if path.name != "run.json")
    if not found:
        raise UserError(f"{root}: no cells (expected DEFENCE/seedN/ATTACK.json)")
    return found


def write_cell(path: Path, cell: Cell) -> None:
    """Write the Parquet beside `path`, then the JSON at `path`."""
    with replacing(path.with_suffix(".parquet")) as temporary:
        # Arrow arrays without pandas' metadata: that would tie the bytes to its version.
        arrays = [
            pa.array(cell.outcomes[field.name].to_numpy(), type=field.type)
            for field in OUTCOMES_SCHEMA
        ]
        table = pa.Table.from_arrays(arrays, schema=OUTCOMES_SCHEMA)
        pq.write_table(table, temporary, write_page_checksum=True)
    write_json(path, cell.record)


@remade()
def read_cell(path: Path) -> Cell:
    """Record at `path` and the outcomes beside it; anything amiss is a `UserError`."""
    record = read_record(path)
    table = path.with_suffix(".parquet")
    if not table.is_file():
        raise missing(table, f"delete {path.name} and run again")
    try:
        arrow = pq.read_table(table, use_threads=False, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{table}: not a readable Parquet file ({error})") from None
    if not arrow.schema.equals(OUTCOMES_SCHEMA):
        raise UserError(f"{table}: columns must be {', '.join(OUTCOMES_SCHEMA.names)}")
    counts, sizes = record["counts"], gallery_sizes(record["counts"])
    queries = counts["attacked_images"] + counts["attacked_captions"]
    rows = len(sizes) * len(record["protocols"]) * len(LABELS) * queries
    if arrow.num_rows != rows:
        raise UserError(f"{table}: has {arrow.num_rows} rows, but {path.name} calls for {rows}")
    if arrow["gallery_images"].unique().to_pylist() != sizes:
        raise UserError(f"{table}: gallery_images must be {sizes}, in this order ({path.name})")
    if arrow["protocol"].unique().to_pylist() != record["protocols"]:
        raise UserError(f"{table}: protocols must be {record['protocols']} ({path.name})")
    return Cell(record=record, outcomes=arrow.to_pandas())
