from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mmrobust.errors import UserError
from mmrobust.evaluation.cells import Origin, build_cell, cell_path, gallery_counts, write_cell
from mmrobust.evaluation.retrieval import Embeddings, split_ranks
from mmrobust.evaluation.tables import COLUMNS, tabulate

World = Callable[..., Embeddings]


@pytest.fixture
def root(tmp_path: Path, made_up: World, unattacked: World) -> Path:
    for number, defence in enumerate(("standard", "mat")):
        for seed in (0, 1):
            world = made_up(10 * number + seed)
            clean = split_ranks(unattacked(world), gallery_images=[6])
            for attack in ("clean", "sga", "pgd"):
                is_clean = attack == "clean"
                cell = build_cell(
                    Origin(
                        study="made_up",
                        dataset="scenes",
                        split="test",
                        source_resolution="128x128",
                        defence=defence,
                        seed=seed,
                    ),
                    attack=attack,
                    attack_config={},
                    threat_model=None if is_clean else {"name": "both"},
                    counts=gallery_counts(world, gallery_images=[6]),
                    outcomes=clean if is_clean else split_ranks(world, gallery_images=[6]),
                    clean_outcomes=None if is_clean else clean,
                    ks=(1, 5),
                    n_resamples=20,
                    confidence=0.95,
                    checks={},
                )
                where = cell_path(tmp_path / "cells", defence=defence, seed=seed, attack=attack)
                write_cell(where, cell)
    return tmp_path / "cells"


def test_table_holds_every_metric_of_every_cell(root: Path, tmp_path: Path) -> None:
    tabulate(root, tmp_path / "m.csv", tmp_path / "m.json")
    table = pd.read_csv(tmp_path / "m.csv")
    assert list(table) == COLUMNS
    assert len(table) == 4 * (16 + 32 + 32)
    row = table.iloc[100]
    record = json.loads((root / row.defence / f"seed{row.seed}" / f"{row.attack}.json").read_text())
    keys = ("metric", "protocol", "direction", "labels", "gallery_images", "k")
    (metric,) = [m for m in record["metrics"] if all(m[key] == row[key] for key in keys)]
    assert (row.value, row.low, row.high) == (metric["value"], metric["low"], metric["high"])
    counts = record["counts"]
    (gallery,) = counts["galleries"]
    assert (row.images, row.captions) == (counts["images"], counts["captions"])
    assert row.gallery_captions == gallery["gallery_captions"]
    assert row.positives_per_query == gallery["positives_per_query"][row.direction]
    assert set(table["source_resolution"]) == {"128x128"}
    assert table[table["attack"] == "clean"]["threat_model"].isna().all()
    assert set(table[table["attack"] != "clean"]["threat_model"]) == {"both"}


def test_order_is_the_study_s_where_it_is_given(root: Path, tmp_path: Path) -> None:
    def order(**given: list[str]) -> list[tuple[str, int, str]]:
        tabulate(root, tmp_path / "m.csv", tmp_path / "m.json", **given)
        table = pd.read_csv(tmp_path / "m.csv")
        cells = table[["defence", "seed", "attack"]].drop_duplicates()
        return [tuple(row) for row in cells.itertuples(index=False)]

    alphabetical = order()
    assert alphabetical[:4] == [
        ("mat", 0, "clean"),
        ("mat", 0, "pgd"),
        ("mat", 0, "sga"),
        ("mat", 1, "clean"),
    ]
    given = order(defences=["standard"], attacks=["sga", "pgd"])
    assert given[:3] == [("standard", 0, "clean"), ("standard", 0, "sga"), ("standard", 0, "pgd")]
    assert given[3:] == [("standard", 1, "clean"), ("standard", 1, "sga"), ("standard", 1, "pgd")]


def test_cells_of_an_earlier_form_of_the_study_are_passed_over(root: Path, tmp_path: Path) -> None:
    tabulate(root, tmp_path / "m.csv", tmp_path / "m.json", seeds=[1], attacks=["clean"])
    table = pd.read_csv(tmp_path / "m.csv")
    assert set(table["seed"]) == {1}
    assert set(table["attack"]) == {"clean"}
    with pytest.raises(UserError, match="holds none of the study's cells"):
        tabulate(root, tmp_path / "m.csv", tmp_path / "m.json", defences=["other"])


def test_summary_is_the_mean_over_seeds(root: Path, tmp_path: Path) -> None:
    tabulate(root, tmp_path / "m.csv", tmp_path / "m.json")
    summary = json.loads((tmp_path / "m.json").read_text())
    table = pd.read_csv(tmp_path / "m.csv")
    chosen = table.query(
        "defence == 'mat' and attack == 'sga' and protocol == 'full_gallery' "
        "and labels == 'one_image' and direction == 't2i' and metric == 'recall_at_k' and k == 5"
    )
    assert len(chosen) == 2
    found = summary["mat"]["sga"]["t2i_recall_at_5"]
    assert found == pytest.approx(chosen["value"].mean(), abs=1e-6)
    assert set(summary["mat"]["clean"]) == {
        f"{direction}_recall_at_{k}" for direction in ("i2t", "t2i") for k in (1, 5)
    }
    assert "i2t_attack_success_rate_at_1" in summary["standard"]["pgd"]


def test_bytes_are_the_same_twice(root: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        tabulate(root, tmp_path / f"{name}.csv", tmp_path / f"{name}.json")
    for suffix in ("csv", "json"):
        once, again = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
        assert once == again


def test_no_cells_and_misplaced_cells_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no cells"):
        tabulate(tmp_path / "none", tmp_path / "m.csv", tmp_path / "m.json")
    (root / "mat" / "seed0").rename(root / "mat" / "seed7")
    with pytest.raises(UserError, match="not that of its path"):
        tabulate(root, tmp_path / "m.csv", tmp_path / "m.json")
    assert not (tmp_path / "m.csv").exists()
