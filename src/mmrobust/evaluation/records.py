"""JSON records of cells, read strictly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmrobust.artifacts import read_json, remade
from mmrobust.errors import UserError
from mmrobust.evaluation.retrieval import DIRECTIONS, PROTOCOLS

SCHEMA_VERSION = 2

RECORD_KEYS = (
    *("schema_version", "study", "dataset", "split", "source_resolution", "defence", "seed"),
    *("attack", "attack_config", "threat_model", "curve", "protocols", "counts", "metrics"),
    *("checks", "flags"),
)
COUNT_KEYS = ("images", "captions", "attacked_images", "attacked_captions", "galleries")
GALLERY_KEYS = ("gallery_images", "galleries", "gallery_captions", "positives_per_query")
METRIC_KEYS = (
    *("metric", "protocol", "direction", "labels", "gallery_images", "k", "value", "low", "high"),
    *("n", "successes", "interval", "confidence", "n_resamples"),
)
THREAT_MODEL_KEYS = ("name", "knowledge", "source", "image", "text")
IMAGE_BUDGET_KEYS = ("norm", "eps")
TEXT_BUDGET_KEYS = ("words", "characters", "keeps_truth")
SHARE_KEYS = ("value", "low", "high", "n", "interval")
SHARES = ("captions_true", "hard_negatives", "rare_hard_negatives")
"""Checks that are shares with an interval."""
FLAG_KEYS = ("flag", "raised", "value", "low", "high", "against", "n", "says")


@remade()
def read_record(path: Path) -> dict[str, Any]:
    """Record of a cell, checked for its version and its keys."""
    record = read_json(path)
    if not isinstance(record, dict):
        raise UserError(f"{path}: a cell must be a JSON object")
    version = record.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UserError(f"{path}: schema_version is {version!r} (allowed: {SCHEMA_VERSION})")
    _require(path, record, RECORD_KEYS, "record")
    _check_attack(path, record)
    _check_counts(path, record["counts"])
    for at, metric in enumerate(_list(path, record["metrics"], "metrics")):
        where = f"metrics[{at}]"
        _require(path, metric, METRIC_KEYS, where)
        _check_known(path, metric, "gallery_images", gallery_sizes(record["counts"]), where)
        _check_known(path, metric, "direction", DIRECTIONS, where)
        _check_known(path, metric, "protocol", record["protocols"], where)
    for at, flag in enumerate(_list(path, record["flags"], "flags")):
        _require(path, flag, FLAG_KEYS, f"flags[{at}]")
    return record


def _check_attack(path: Path, record: Mapping[str, Any]) -> None:
    """What the cell says of its attack: its threat model, curve, protocols and checks."""
    threat_model, curve, checks = record["threat_model"], record["curve"], record["checks"]
    if threat_model is not None:
        _require(path, threat_model, THREAT_MODEL_KEYS, "threat_model")
        for modality, keys in (("image", IMAGE_BUDGET_KEYS), ("text", TEXT_BUDGET_KEYS)):
            if threat_model[modality] is not None:
                _require(path, threat_model[modality], keys, f"threat_model.{modality}")
    if not isinstance(curve, str | None):
        raise UserError(f"{path}: curve is {curve!r} (allowed: a name or null)")
    protocols = _list(path, record["protocols"], "protocols")
    allowed = [list(PROTOCOLS), ["own_pair"]]
    if protocols not in allowed:
        raise UserError(
            f"{path}: protocols is {protocols} (allowed: {' or '.join(map(str, allowed))})"
        )
    _require(path, record["attack_config"], (), "attack_config")
    _require(path, checks, (), "checks")
    for name in SHARES:
        if name in checks:
            _require(path, checks[name], SHARE_KEYS, f"checks.{name}")


def _check_counts(path: Path, counts: Any) -> None:
    """Galleries, and how many images and captions of the split were attacked."""
    _require(path, counts, COUNT_KEYS, "counts")
    for at, gallery in enumerate(_list(path, counts["galleries"], "counts.galleries")):
        where = f"counts.galleries[{at}]"
        _require(path, gallery, GALLERY_KEYS, where)
        _require(path, gallery["positives_per_query"], DIRECTIONS, f"{where}.positives_per_query")
    sizes = gallery_sizes(counts)
    whole = all(isinstance(size, int) for size in sizes)
    if not sizes or not whole or len(set(sizes)) < len(sizes):
        raise UserError(f"{path}: counts.galleries must be of one or several distinct sizes")
    for some, of_all in (("attacked_images", "images"), ("attacked_captions", "captions")):
        number, most = counts[some], counts[of_all]
        if not isinstance(number, int) or not isinstance(most, int) or not 1 <= number <= most:
            raise UserError(
                f"{path}: counts.{some} is {number!r} (allowed: 1 to counts.{of_all}, {most!r})"
            )


def _check_known(
    path: Path, values: Mapping[str, Any], key: str, known: Sequence[Any], where: str
) -> None:
    if values[key] not in known:
        allowed = ", ".join(map(str, known))
        raise UserError(f"{path}: {where}: {key} is {values[key]!r} (allowed: {allowed})")


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
