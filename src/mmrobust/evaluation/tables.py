"""All cells of a study as one tidy table, and a small nested summary of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mmrobust.artifacts import replacing, write_json
from mmrobust.errors import UserError
from mmrobust.evaluation.cells import CLEAN, cell_paths
from mmrobust.evaluation.records import check_place, gallery_sizes, read_record

COLUMNS = [
    *("study", "dataset", "source_resolution", "defence", "seed", "attack", "threat_model"),
    *("protocol", "direction", "labels", "gallery_images", "metric", "k"),
    *("value", "low", "high", "n", "successes", "interval", "confidence"),
    *("images", "captions", "gallery_captions", "positives_per_query"),
]


def tabulate(
    cells_root: Path,
    csv: Path,
    json: Path,
    *,
    defences: Sequence[str] = (),
    seeds: Sequence[int] = (),
    attacks: Sequence[str] = (),
) -> None:
    """Write the tidy table and the summary of all cells under `cells_root`.

    Args:
        cells_root: folder of DEFENCE/seedN/ATTACK.json.
        csv: gets one row a metric of a cell, those of the main gallery size first.
        json: gets defence -> attack -> "<direction>_<metric>" -> mean over seeds, of the
            one-image labels under the protocol `full_gallery`, in the main gallery size; a
            metric that no seed defines is left out.
        defences: those of the study in its order; cells of others, left from an earlier form of
            the study, are passed over. None named: all, in alphabetical order.
        seeds: the same, in ascending order.
        attacks: the same as defences; "clean" belongs to every study and leads if not named.

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
    with replacing(csv) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    write_json(json, summarise(table, gallery_images=first[0]))


def _place(name: str, order: Sequence[str]) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order), name)


def _rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    threat_model = record["threat_model"]
    keys = ("study", "dataset", "source_resolution", "defence", "seed", "attack")
    about = {key: record[key] for key in keys}
    about["threat_model"] = None if threat_model is None else threat_model["name"]
    about |= {key: record["counts"][key] for key in ("images", "captions")}
    galleries = {of["gallery_images"]: of for of in record["counts"]["galleries"]}
    rows = []
    for metric in record["metrics"]:
        gallery = galleries[metric["gallery_images"]]
        of_gallery = {
            "gallery_captions": gallery["gallery_captions"],
            "positives_per_query": gallery["positives_per_query"][metric["direction"]],
        }
        rows.append(about | metric | of_gallery)
    return rows


def summarise(
    table: pd.DataFrame, *, gallery_images: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Means over seeds of the tidy table's one-image, full-gallery values in one gallery size."""
    chosen = table[
        (table["protocol"] == "full_gallery")
        & (table["labels"] == "one_image")
        & (table["gallery_images"] == gallery_images)
    ]
    chosen = chosen.dropna(subset=["value"])
    names = ["defence", "attack", "direction", "metric", "k"]
    summary: dict[str, dict[str, dict[str, float]]] = {}
    means = chosen.groupby(names, as_index=False)["value"].mean()
    for row in means.itertuples():
        name = f"{row.direction}_{str(row.metric).removesuffix('_at_k')}_at_{row.k}"
        of_attack = summary.setdefault(str(row.defence), {}).setdefault(str(row.attack), {})
        of_attack[name] = round(float(row.value), 6)
    return summary
