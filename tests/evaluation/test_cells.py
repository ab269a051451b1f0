from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmrobust.config import EvaluationConfig
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
from mmrobust.evaluation.examples import SCHEMA
from mmrobust.evaluation.records import check_place, read_record
from mmrobust.evaluation.retrieval import Embeddings, of_items
from mmrobust.evaluation.store import CellStore

World = Callable[..., Embeddings]
Ranks = Callable[..., pd.DataFrame]
ORIGIN = Origin(
    study="made_up",
    dataset="scenes",
    split="test",
    source_resolution=None,
    defence="mat",
    seed=3,
)


@pytest.fixture
def build(
    made_up: World, unattacked: World, outcomes_of: Ranks, threat_model: Any
) -> Callable[..., Cell]:
    """Builds a cell of twelve images, or of an attack on some of them."""

    def built(items: Sequence[int] | None = None, **truth: Sequence[int]) -> Cell:
        world = made_up(0)
        outcomes = outcomes_of(world, gallery_images=[6])
        if items is not None:
            outcomes = of_items(outcomes, items)
        for value, captions in enumerate((truth.get("false", ()), truth.get("true", ()))):
            decided = (outcomes["direction"] == "t2i") & outcomes["query"].isin(captions)
            outcomes.loc[decided, "caption_true"] = value
        return build_cell(
            ORIGIN,
            attack="sga",
            attack_config={"method": "sga", "steps": 10},
            threat_model=threat_model(),
            curve=None,
            counts=gallery_counts(world, gallery_images=[6]),
            outcomes=outcomes,
            clean_outcomes=outcomes_of(unattacked(world), gallery_images=[6]),
            config=EvaluationConfig(gallery_images=(1,), ks=(1, 5, 10), n_resamples=50),
            checks={"max_perturbation": 0.0078},
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
        (lambda r: r.update(schema_version=1), r"schema_version is 1 \(allowed: 2\)"),
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
        (
            lambda r: r["metrics"][4].update(protocol="own"),
            r"metrics\[4\]: protocol is 'own' \(allowed: full_gallery, own_pair\)",
        ),
        (lambda r: r["counts"].update(attacked_images=11), "rows, but sga.json calls for"),
        (
            lambda r: r["counts"].update(attacked_images=13),
            r"counts.attacked_images is 13 \(allowed: 1 to counts.images, 12\)",
        ),
        (lambda r: r["counts"].update(attacked_captions=0), "counts.attacked_captions is 0"),
        (lambda r: r["counts"].pop("attacked_images"), "counts lacks attacked_images"),
        (lambda r: [r.pop("curve"), r.pop("flags")], "record lacks curve, flags"),
        (lambda r: r.update(curve=3), r"curve is 3 \(allowed: a name or null\)"),
        (lambda r: r.update(protocols=[]), r"protocols is \[\] \(allowed: "),
        (lambda r: r.update(protocols="own_pair"), "protocols must be a list"),
        (lambda r: r["protocols"].reverse(), r"protocols is \['own_pair', 'full_gallery'\]"),
        (lambda r: r.update(checks=[]), "checks must be a JSON object"),
        (
            lambda r: r["checks"].update(captions_true={"value": 1.0}),
            "checks.captions_true lacks low, high, n, interval",
        ),
        (lambda r: r.update(flags=[{"flag": "x"}]), r"flags\[0\] lacks raised, value"),
        (lambda r: r.update(threat_model={"name": "x"}), "threat_model lacks knowledge, source"),
        (lambda r: r["threat_model"]["image"].pop("eps"), "threat_model.image lacks eps"),
        (lambda r: r["threat_model"].update(text=1), "threat_model.text must be a JSON object"),
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


def test_outcomes_of_other_protocols_are_refused(path: Path, cell: Cell) -> None:
    half = cell.outcomes.assign(protocol="own_pair")
    write_cell(path, replace(cell, outcomes=half))
    with pytest.raises(UserError, match=r"sga\.parquet: protocols must be \['full_gallery'"):
        read_cell(path)


def test_a_cell_of_some_items(tmp_path: Path, build: Callable[..., Cell]) -> None:
    """Own_pair alone, with the numbers that those items have in the whole cell."""
    items = [1, 7, 10]
    cell, whole = build(items), build()
    record = cell.record
    assert record["protocols"] == ["own_pair"]
    assert whole.record["protocols"] == ["full_gallery", "own_pair"]
    captions = whole.outcomes.query("direction == 't2i' and image in @items")["query"].nunique()
    counts = {key: record["counts"][key] for key in whole.record["counts"]}
    assert counts == {
        **whole.record["counts"],
        "attacked_images": 3,
        "attacked_captions": captions,
    }
    assert {metric["protocol"] for metric in record["metrics"]} == {"own_pair"}
    for metric in record["metrics"]:
        rows = whole.outcomes[
            (whole.outcomes["protocol"] == "own_pair")
            & (whole.outcomes["direction"] == metric["direction"])
            & (whole.outcomes["labels"] == metric["labels"])
            & whole.outcomes["image"].isin(items)
        ]
        if metric["metric"] == "recall_at_k":
            assert metric["n"] == len(rows)
            assert metric["successes"] == (rows["rank"] <= metric["k"]).sum()
    where = cell_path(tmp_path, defence="mat", seed=3, attack="sga")
    write_cell(where, cell)
    found = read_cell(where)
    assert found.record == record
    pd.testing.assert_frame_equal(found.outcomes, cell.outcomes)


def test_the_store_keeps_cells_of_some_items(tmp_path: Path, build: Callable[..., Cell]) -> None:
    store = CellStore(tmp_path)
    cell, inputs = build([1, 7, 10]), {"attack": "sga", "items": 3}
    assert store.get(inputs) is None
    store.put(inputs, cell, pd.DataFrame(columns=SCHEMA.names), seconds=1.5)
    assert store.seconds(inputs) == 1.5
    assert store.seconds({**inputs, "other": 1}) is None
    found = store.get(inputs)
    assert found is not None
    assert found[0].record == cell.record
    pd.testing.assert_frame_equal(found[0].outcomes, cell.outcomes)
    assert list(found[1]) == SCHEMA.names
    assert found[1].empty
    assert store.get({**inputs, "items": 4}) is None
    store.path(inputs).with_name("examples.parquet").write_bytes(b"PAR1")
    assert store.get(inputs) is None


def test_truth_of_captions_is_counted_once(build: Callable[..., Cell]) -> None:
    """Not once a gallery size, protocol or kind of label; 0 and 1 of five captions are false."""
    truth = build(true=(2, 3, 4), false=(0, 1)).record["checks"]["captions_true"]
    assert (truth["value"], truth["n"]) == (0.6, 5)
    assert truth["low"] <= 0.6 <= truth["high"]
    whole = build(range(12), true=range(24)).record["checks"]["captions_true"]
    assert whole["value"] == whole["high"] == 1.0
    assert whole["interval"] == "clopper_pearson"
    assert "captions_true" not in build().record["checks"]


def test_truth_of_captions_is_clustered_by_image(build: Callable[..., Cell]) -> None:
    """Where an image's captions agree, its interval is that of images and not of captions."""
    outcomes = build().outcomes.query("direction == 't2i'")
    owner = outcomes.drop_duplicates("query").set_index("query")["image"]
    sides = [owner.index[owner.isin(images)] for images in (range(6), range(6, 12))]
    truth = build(true=sides[0], false=sides[1]).record["checks"]["captions_true"]
    per_caption = 1.96 * (truth["value"] * (1 - truth["value"]) / truth["n"]) ** 0.5
    assert truth["n"] == len(owner)
    assert truth["high"] - truth["low"] > 2.2 * per_caption


def test_nan_in_a_record_is_not_written(tmp_path: Path, cell: Cell) -> None:
    broken = replace(cell, record={**cell.record, "checks": {"x": float("nan")}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_cell(tmp_path / "mat" / "seed3" / "sga.json", broken)
    assert not (tmp_path / "mat" / "seed3" / "sga.json").exists()
