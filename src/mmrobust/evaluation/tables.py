"""All cells of a study as one tidy table, a small nested summary of it, and a table of flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mmrobust.artifacts import replacing, together, write_json
from mmrobust.ensembles import has_recall
from mmrobust.errors import UserError
from mmrobust.evaluation.cells import CLEAN, cell_paths
from mmrobust.evaluation.records import check_place, gallery_sizes, read_record
from mmrobust.parts import Only, is_run

COLUMNS = [
    *("study", "dataset", "source_resolution", "defence", "seed", "attack", "threat_model"),
    *("attack_method", "knowledge", "source", "image_norm", "image_eps"),
    *("text_words", "text_characters", "keeps_truth", "worst_case", "curve"),
    *("protocol", "direction", "labels", "gallery_images", "metric", "k"),
    *("value", "low", "high", "n", "successes", "interval", "confidence"),
    *("images", "captions", "attacked_images", "gallery_captions", "positives_per_query"),
]
FLAG_COLUMNS = [
    *("study", "defence", "seed", "attack", "flag", "raised", "value", "low", "high"),
    *("against", "n"),
]
_WHOLE = ["k", "text_words", "text_characters"]
"""Columns of whole numbers in which some rows are empty."""


def tabulate(
    cells_root: Path,
    csv: Path,
    json: Path,
    flags: Path,
    *,
    defences: Sequence[str] = (),
    seeds: Sequence[int] = (),
    attacks: Sequence[str] = (),
    only: Only | None = None,
) -> None:
    """Write the tidy table, the summary and the flags of all cells under `cells_root`.

    Args:
        cells_root: folder of DEFENCE/seedN/ATTACK.json.
        csv: gets one row a metric of a cell, those of the main gallery size first. What a cell
            has no value for is empty (an ensemble has no method). Metrics without k are shares: of
            attacked captions that are still true, `caption_truth`, and of captions preferred to
            their hard negatives, `hard_negative_accuracy`, and `rare_hard_negative_accuracy` of
            those said with a rare word. `worst_case` is empty but for ensembles: the direction of
            the queries that one is about, i2t or t2i, or both; it has no recall of the other.
        json: gets the summary, see `summarise`.
        flags: gets one row a flag of a cell, raised or not, see `flags.flag_cells`.
        defences: those of the study in its order; cells of others, left from an earlier form of
            the study, are passed over. None named: all, in alphabetical order.
        seeds: the same, in ascending order.
        attacks: the same as defences; "clean" belongs to every study and leads if not named.
        only: the defences of those attacks that the study runs on some alone.

    Raises:
        UserError: if there are no cells, one can't be read, or their gallery sizes differ.
    """
    if attacks and CLEAN not in attacks:
        attacks = (CLEAN, *attacks)
    records = []
    for path in cell_paths(cells_root):
        record = read_record(path)
        wanted = (("defence", defences), ("seed", seeds), ("attack", attacks))
        if any(names and record[key] not in names for key, names in wanted):
            continue
        if not is_run(record["attack"], record["defence"], only or {}):
            continue
        check_place(path, record)
        records.append(record)
        sizes, first = (gallery_sizes(of["counts"]) for of in (record, records[0]))
        if sizes != first:
            raise UserError(
                f"{path}: has galleries of {sizes} images, but other cells of the study of {first}"
            )
    if not records:
        raise UserError(f"{cells_root}: holds none of the study's cells")
    records.sort(
        key=lambda record: (
            _place(record["defence"], defences),
            record["seed"],
            _place(record["attack"], attacks or (CLEAN,)),
        )
    )
    table = pd.DataFrame([row for record in records for row in _rows(record)], columns=COLUMNS)
    table = table.astype(dict.fromkeys(_WHOLE, "Int64"))
    raised = [row for record in records for row in _flag_rows(record)]
    with together():
        _write_csv(csv, table)
        _write_csv(flags, pd.DataFrame(raised, columns=FLAG_COLUMNS))
        write_json(json, summarise(table, gallery_images=first[0]))


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def _place(name: str, order: Sequence[str]) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order), name)


def _rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    counts = record["counts"]
    keys = ("study", "dataset", "source_resolution", "defence", "seed", "attack", "curve")
    about = {key: record[key] for key in keys} | _of_attack(record)
    about |= {key: counts[key] for key in ("images", "captions", "attacked_images")}
    galleries = {of["gallery_images"]: of for of in counts["galleries"]}
    rows = []
    metrics = [of for of in record["metrics"] if has_recall(about["worst_case"], of["direction"])]
    for metric in [*metrics, *_shares(record)]:
        gallery = galleries[metric["gallery_images"]]
        of_gallery = {
            "gallery_captions": gallery["gallery_captions"],
            "positives_per_query": gallery["positives_per_query"][metric["direction"]],
        }
        rows.append(about | metric | of_gallery)
    return rows


def _of_attack(record: dict[str, Any]) -> dict[str, Any]:
    """Method, knowledge and budgets; None for what the attack hasn't."""
    threat_model = record["threat_model"] or {}
    image, text = threat_model.get("image") or {}, threat_model.get("text") or {}
    return {
        "threat_model": threat_model.get("name"),
        "attack_method": record["attack_config"].get("method"),
        "knowledge": threat_model.get("knowledge"),
        "source": threat_model.get("source"),
        "image_norm": image.get("norm"),
        "image_eps": image.get("eps"),
        "text_words": text.get("words"),
        "text_characters": text.get("characters"),
        "keeps_truth": text.get("keeps_truth"),
        "worst_case": worst_case(record),
    }


def worst_case(record: Mapping[str, Any]) -> str:
    """Direction of the queries that an ensemble is about, or both; empty for what is none."""
    config = record["attack_config"]
    return str(config.get("direction", "both")) if "ensemble" in config else ""


def _shares(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Shares of captions that a cell's checks hold, as rows beside the metrics."""
    metrics = {
        "captions_true": ("caption_truth", "t2i"),
        "hard_negatives": ("hard_negative_accuracy", "i2t"),
        "rare_hard_negatives": ("rare_hard_negative_accuracy", "i2t"),
    }
    return [
        {
            **share,
            "metric": metrics[name][0],
            "protocol": "own_pair",
            "direction": metrics[name][1],
            "labels": "one_image",
            "gallery_images": gallery_sizes(record["counts"])[0],
            "k": None,
            "successes": round(share["value"] * share["n"]),
            "confidence": record["metrics"][0]["confidence"],
        }
        for name, share in record["checks"].items()
        if name in metrics
    ]


def _flag_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    about = {key: record[key] for key in ("study", "defence", "seed", "attack")}
    return [about | flag for flag in record["flags"]]


def summarise(
    table: pd.DataFrame, *, gallery_images: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Small summary: defence -> attack -> "<direction>_<metric>" -> mean over seeds.

    Of one-image labels in one gallery size, under the protocol `full_gallery`. Cells that have
    none (ensembles, attacks on some images) are summarised under `own_pair`, by names that begin
    with it: the two protocols don't compare. Recall drops are left out, being differences of what
    is there, and so is a metric that no seed defines.

    Args:
        table: the tidy table.
        gallery_images: the main gallery size.
    """
    chosen = table[
        table["metric"].isin(["recall_at_k", "attack_success_rate"])
        & (table["labels"] == "one_image")
        & (table["gallery_images"] == gallery_images)
    ]
    whole = chosen["protocol"] == "full_gallery"
    cell = [chosen["defence"], chosen["attack"], chosen["seed"]]
    chosen = chosen[whole | ~whole.groupby(cell).transform("any")].dropna(subset=["value"])
    names = ["defence", "attack", "protocol", "direction", "metric", "k"]
    summary: dict[str, dict[str, dict[str, float]]] = {}
    means = chosen.groupby(names, as_index=False)["value"].mean()
    for row in means.itertuples():
        name = f"{row.direction}_{str(row.metric).removesuffix('_at_k')}_at_{row.k}"
        if row.protocol != "full_gallery":
            name = f"{row.protocol}_{name}"
        of_attack = summary.setdefault(str(row.defence), {}).setdefault(str(row.attack), {})
        of_attack[name] = round(float(row.value), 6)
    return summary
