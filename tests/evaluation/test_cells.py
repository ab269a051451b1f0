from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmrobust.errors import UserError
from mmrobust.evaluation.cells import (
    Cell,
    Origin,
    build_cell,
    cell_path,
    cell_paths,
    gallery_counts,
    read_cell,
    write_cell,
)
from mmrobust.evaluation.records import check_place, read_record
from mmrobust.evaluation.retrieval import Embeddings, split_ranks

World = Callable[..., Embeddings]
ORIGIN = Origin(
    study="made_up",
    dataset="scenes",
    split="test",
    source_resolution=None,
    defence="mat",
    seed=3,
)


@pytest.fixture
def build(made_up: World, unattacked: World) -> Callable[[], Cell]:
    def built() -> Cell:
        world = made_up(0)
        return build_cell(
            ORIGIN,
            attack="sga",
            attack_config={"method": "sga", "steps": 10},
            threat_model={"name": "both", "knowledge": "white_box", "image": None, "text": None},
            counts=gallery_counts(world, gallery_images=[6]),
            outcomes=split_ranks(world, gallery_images=[6]),
            clean_outcomes=split_ranks(unattacked(world), gallery_images=[6]),
            ks=(1, 5, 10),
            n_resamples=50,
            confidence=0.95,
            checks={"max_abs_perturbation": 0.0078},
        )

    return built


@pytest.fixture
def cell(build: Callable[[], Cell]) -> Cell:
    return build()


@pytest.fixture
def path(tmp_path: Path, cell: Cell) -> Path:
    where = cell_path(tmp_path, defence="mat", seed=3, attack="sga")
    write_cell(where, cell)
    return where


def test_round_trip(path: Path, cell: Cell) -> None:
    found = read_cell(path)
    assert found.record == cell.record
    pd.testing.assert_frame_equal(found.outcomes, cell.outcomes)
    assert found.name == "mat/seed3/sga"
    check_place(path, found.record)


def test_bytes_are_the_same_for_the_same_input(
    tmp_path: Path, path: Path, build: Callable[[], Cell]
) -> None:
    again = cell_path(tmp_path / "again", defence="mat", seed=3, attack="sga")
    for cell in (build(), read_cell(path)):
        write_cell(again, cell)
        for suffix in (".json", ".parquet"):
            assert again.with_suffix(suffix).read_bytes() == path.with_suffix(suffix).read_bytes()
    assert b"pandas" not in path.with_suffix(".parquet").read_bytes()


def test_gallery_counts_count_positives_inside_galleries(made_up: World) -> None:
    world = made_up(0, max_captions=1)
    dense = world.positives.toarray()
    inside = sum(dense[at : at + 4, at : at + 4].sum() for at in (0, 4, 8))
    assert gallery_counts(world, gallery_images=[4, 12]) == {
        "images": 12,
        "captions": 12,
        "galleries": [
            {
                "gallery_images": 4,
                "galleries": 3,
                "gallery_captions": 4,
                "positives_per_query": {"i2t": inside / 12, "t2i": inside / 12},
            },
            {
                "gallery_images": 12,
                "galleries": 1,
                "gallery_captions": 12,
                "positives_per_query": {"i2t": dense.sum() / 12, "t2i": dense.sum() / 12},
            },
        ],
    }
    assert inside < dense.sum()


def test_paths(tmp_path: Path, path: Path) -> None:
    (path.parent / "run.json").write_text("{}")
    assert cell_paths(tmp_path) == [path]
    with pytest.raises(UserError, match="no cells"):
        cell_paths(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="can't be named 'run'"):
        cell_path(tmp_path, defence="mat", seed=0, attack="run")


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.update(schema_version=2), r"schema_version is 2 \(allowed: 1\)"),
        (lambda r: r.pop("schema_version"), "schema_version is None"),
        (lambda r: [r.pop("study"), r.pop("checks")], "record lacks study, checks"),
        (lambda r: r["counts"].pop("captions"), "counts lacks captions"),
        (lambda r: r["counts"].update(galleries={}), "counts.galleries must be a list"),
        (lambda r: r["counts"].update(galleries=[]), "must be of one or several distinct sizes"),
        (
            lambda r: r["counts"]["galleries"].append(r["counts"]["galleries"][0]),
            "must be of one or several distinct sizes",
        ),
        (
            lambda r: r["counts"]["galleries"][0].update(gallery_images=[6]),
            "must be of one or several distinct sizes",
        ),
        (
            lambda r: r["counts"]["galleries"][0].pop("gallery_captions"),
            r"counts.galleries\[0\] lacks gallery_captions",
        ),
        (
            lambda r: r["counts"]["galleries"][0]["positives_per_query"].pop("t2i"),
            r"counts.galleries\[0\].positives_per_query lacks t2i",
        ),
        (
            lambda r: r["metrics"][4].update(gallery_images=12),
            r"metrics\[4\]: gallery_images is 12 \(allowed: 6\)",
        ),
        (
            lambda r: r["metrics"][4].update(direction="i2i"),
            r"metrics\[4\]: direction is 'i2i' \(allowed: i2t, t2i\)",
        ),
        (lambda r: r["metrics"][4].pop("gallery_images"), r"metrics\[4\] lacks gallery_images"),
        (lambda r: r["metrics"][4].pop("low"), r"metrics\[4\] lacks low"),
        (lambda r: r.update(metrics={}), "metrics must be a list"),
        (lambda r: r.update(counts=3), "counts must be a JSON object"),
        (lambda r: r["counts"].update(images=13), "rows, but sga.json calls for"),
    ],
)
def test_broken_records_are_refused_by_name(
    path: Path, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    edit(path, change)
    with pytest.raises(UserError, match=said) as error:
        read_cell(path)
    assert "sga." in str(error.value)


def test_record_that_is_no_object(path: Path) -> None:
    path.write_text("[]")
    with pytest.raises(UserError, match="must be a JSON object"):
        read_record(path)


def test_record_of_another_cell_is_refused(path: Path) -> None:
    edit(path, lambda record: record.update(seed=4))
    with pytest.raises(UserError, match="holds the cell mat/seed4/sga"):
        check_place(path, read_record(path))


def test_a_flipped_byte_in_the_outcomes_is_noticed(path: Path) -> None:
    table = path.with_suffix(".parquet")
    content = bytearray(table.read_bytes())
    whole = pq.ParquetFile(table).metadata.row_group(0).column(7)
    content[whole.dictionary_page_offset + whole.total_compressed_size - 1] ^= 1
    table.write_bytes(content)
    with pytest.raises(UserError, match=r"sga\.parquet: not a readable Parquet file"):
        read_cell(path)


@pytest.mark.parametrize("keep", [0, 3, 400, -9])
def test_truncated_outcomes_are_refused_by_name(path: Path, keep: int) -> None:
    table = path.with_suffix(".parquet")
    table.write_bytes(table.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"sga\.parquet: not a readable Parquet file"):
        read_cell(path)


def test_missing_outcomes_are_refused_by_name(path: Path) -> None:
    path.with_suffix(".parquet").unlink()
    with pytest.raises(UserError, match=r"sga\.parquet: file is missing"):
        read_cell(path)


def test_outcomes_with_other_columns_are_refused(path: Path) -> None:
    pq.write_table(pa.table({"rank": [1]}), path.with_suffix(".parquet"))
    with pytest.raises(UserError, match="columns must be protocol"):
        read_cell(path)


def test_outcomes_of_another_gallery_size_are_refused(path: Path, cell: Cell) -> None:
    other = cell.outcomes.assign(gallery_images=4)
    write_cell(path, replace(cell, outcomes=other))
    with pytest.raises(UserError, match=r"sga\.parquet: gallery_images must be \[6\]"):
        read_cell(path)


def test_nan_in_a_record_is_not_written(tmp_path: Path, cell: Cell) -> None:
    broken = replace(cell, record={**cell.record, "checks": {"x": float("nan")}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_cell(tmp_path / "mat" / "seed3" / "sga.json", broken)
    assert not (tmp_path / "mat" / "seed3" / "sga.json").exists()
