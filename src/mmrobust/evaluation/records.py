"""JSON records of cells, read strictly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmrobust.artifacts import read_json
from mmrobust.errors import UserError
from mmrobust.evaluation.retrieval import DIRECTIONS

SCHEMA_VERSION = 1

RECORD_KEYS = (
    *("schema_version", "study", "dataset", "split", "source_resolution", "defence", "seed"),
    *("attack", "attack_config", "threat_model", "counts", "metrics", "checks"),
)
COUNT_KEYS = ("images", "captions", "galleries")
GALLERY_KEYS = ("gallery_images", "galleries", "gallery_captions", "positives_per_query")
METRIC_KEYS = (
    *("metric", "protocol", "direction", "labels", "gallery_images", "k", "value", "low", "high"),
    *("n", "successes", "interval", "confidence", "n_resamples"),
)


def read_record(path: Path) -> dict[str, Any]:
    """Record of a cell, checked for its version and its keys."""
    record = read_json(path)
    if not isinstance(record, dict):
        raise UserError(f"{path}: a cell must be a JSON object")
    version = record.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UserError(f"{path}: schema_version is {version!r} (allowed: {SCHEMA_VERSION})")
    _require(path, record, RECORD_KEYS, "record")
    _require(path, record["counts"], COUNT_KEYS, "counts")
    galleries = _list(path, record["counts"]["galleries"], "counts.galleries")
    for at, gallery in enumerate(galleries):
        where = f"counts.galleries[{at}]"
        _require(path, gallery, GALLERY_KEYS, where)
        _require(path, gallery["positives_per_query"], DIRECTIONS, f"{where}.positives_per_query")
    sizes = gallery_sizes(record["counts"])
    whole = all(isinstance(size, int) for size in sizes)
    if not sizes or not whole or len(set(sizes)) < len(sizes):
        raise UserError(f"{path}: counts.galleries must be of one or several distinct sizes")
    for at, metric in enumerate(_list(path, record["metrics"], "metrics")):
        _require(path, metric, METRIC_KEYS, f"metrics[{at}]")
        for key, known in (("gallery_images", sizes), ("direction", DIRECTIONS)):
            if metric[key] not in known:
                allowed = ", ".join(map(str, known))
                raise UserError(
                    f"{path}: metrics[{at}]: {key} is {metric[key]!r} (allowed: {allowed})"
                )
    return record


def gallery_sizes(counts: Mapping[str, Any]) -> list[int]:
    """Gallery sizes, in images, of a record's `counts`; the main one first."""
    return [gallery["gallery_images"] for gallery in counts["galleries"]]


def check_place(path: Path, record: Mapping[str, Any]) -> None:
    """`UserError` if a record of a study does not stand at the `cell_path` that it names."""
    place = (path.parent.parent.name, path.parent.name, path.stem)
    named = (record["defence"], f"seed{record['seed']}", record["attack"])
    if place != named:
        raise UserError(f"{path}: holds the cell {'/'.join(map(str, named))}, not that of its path")


def _list(path: Path, value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise UserError(f"{path}: {where} must be a list")
    return value


def _require(path: Path, value: Any, keys: Sequence[str], where: str) -> None:
    if not isinstance(value, dict):
        raise UserError(f"{path}: {where} must be a JSON object")
    missing = [key for key in keys if key not in value]
    if missing:
        raise UserError(f"{path}: {where} lacks {', '.join(missing)}")
