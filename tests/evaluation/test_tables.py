from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmrobust.config import EvaluationConfig
from mmrobust.errors import UserError
from mmrobust.evaluation.cells import (
    Cell,
    Origin,
    build_cell,
    cell_path,
    gallery_counts,
    write_cell,
)
from mmrobust.evaluation.retrieval import Embeddings, of_items
from mmrobust.evaluation.tables import COLUMNS, FLAG_COLUMNS, summarise
from mmrobust.evaluation.tables import tabulate as gather

World = Callable[..., Embeddings]
Ranks = Callable[..., pd.DataFrame]
FLAG = {
    "flag": "zero_gradients",
    "raised": True,
    "value": 0.5,
    "low": None,
    "high": None,
    "against": None,
    "n": 12,
    "says": "half of them",
}


def tabulate(root: Path, csv: Path, json: Path, **given: Any) -> None:
    gather(root, csv, json, csv.with_name(f"{csv.stem}_flags.csv"), **given)


@pytest.fixture
def make(
    made_up: World, unattacked: World, outcomes_of: Ranks, threat_model: Any
) -> Callable[..., Cell]:
    """Makes a cell; an `ensemble` is of five images, whose captions are all true."""

    def made(defence: str, seed: int, attack: str) -> Cell:
        world = made_up(10 * len(defence) + seed)
        clean = outcomes_of(unattacked(world), gallery_images=[6])
        is_clean, is_ensemble = attack == "clean", attack == "ensemble"
        outcomes = clean if is_clean else outcomes_of(world, gallery_images=[6])
        if is_ensemble:
            outcomes = of_items(outcomes, [0, 3, 5, 8, 9])
            outcomes["caption_true"] = (outcomes["direction"] == "t2i").astype("int8") * 2 - 1
        return build_cell(
            Origin(
                study="made_up",
                dataset="scenes",
                split="test",
                source_resolution="128x128",
                defence=defence,
                seed=seed,
            ),
            attack=attack,
            attack_config={}
            if is_clean
            else {"ensemble": ["sga", "pgd"]}
            if is_ensemble
            else {"method": "sga", "steps": 3},
            threat_model=None if is_clean else threat_model(),
            curve="words" if attack == "pgd" else None,
            counts=gallery_counts(world, gallery_images=[6]),
            outcomes=outcomes,
            clean_outcomes=None if is_clean else clean,
            config=EvaluationConfig(gallery_images=(1,), ks=(1, 5), n_resamples=20),
            checks={},
        )

    return made


@pytest.fixture
def root(tmp_path: Path, make: Callable[..., Cell]) -> Path:
    for defence in ("standard", "mat"):
        for seed in (0, 1):
            for attack in ("clean", "sga", "pgd"):
                where = cell_path(tmp_path / "cells", defence=defence, seed=seed, attack=attack)
                write_cell(where, make(defence, seed, attack))
    return tmp_path / "cells"


def test_table_holds_every_metric_of_every_cell(root: Path, tmp_path: Path) -> None:
    tabulate(root, tmp_path / "m.csv", tmp_path / "m.json")
    table = pd.read_csv(tmp_path / "m.csv")
    assert list(table) == COLUMNS
    assert len(table) == 4 * (16 + 48 + 48)
    row = table.iloc[100]
    record = json.loads((root / row.defence / f"seed{row.seed}" / f"{row.attack}.json").read_text())
    keys = ("metric", "protocol", "direction", "labels", "gallery_images", "k")
    (metric,) = [m for m in record["metrics"] if all(m[key] == row[key] for key in keys)]
    assert (row.value, row.low, row.high) == (metric["value"], metric["low"], metric["high"])
    counts = record["counts"]
    (gallery,) = counts["galleries"]
    assert (row.images, row.captions) == (counts["images"], counts["captions"])
    assert row.attacked_images == counts["attacked_images"] == 12
    assert row.gallery_captions == gallery["gallery_captions"]
    assert row.positives_per_query == gallery["positives_per_query"][row.direction]
    assert set(table["source_resolution"]) == {"128x128"}
    assert table[table["attack"] == "clean"]["threat_model"].isna().all()
    assert set(table[table["attack"] != "clean"]["threat_model"]) == {"both"}


def test_budgets_and_knowledge_stand_in_the_table(
    root: Path, tmp_path: Path, make: Callable[..., Cell], threat_model: Any
) -> None:
    for name, change in (
        ("far", {"knowledge": "transfer", "source": "standard", "text": None}),
        ("true", {"image": None, "text": {"words": 3, "characters": 2, "keeps_truth": True}}),
    ):
        cell = make("mat", 0, name)
        record = {**cell.record, "threat_model": threat_model(**change)}
        where = cell_path(root, defence="mat", seed=0, attack=name)
        write_cell(where, replace(cell, record=record))
    tabulate(root, tmp_path / "m.csv", tmp_path / "m.json")
    names = COLUMNS[7:15]
    table = pd.read_csv(tmp_path / "m.csv", dtype=str, keep_default_na=False)
    found = table.query("defence == 'mat' and seed == '0'").drop_duplicates("attack")
    eps = str(2 / 255)
    assert names == [
        *("attack_method", "knowledge", "source", "image_norm", "image_eps"),
        *("text_words", "text_characters", "keeps_truth"),
    ]
    assert {row.attack: [getattr(row, name) for name in names] for row in found.itertuples()} == {
        "clean": [""] * 8,
        "pgd": ["sga", "white_box", "", "linf", eps, "1", "", "False"],
        "sga": ["sga", "white_box", "", "linf", eps, "1", "", "False"],
        "far": ["sga", "transfer", "standard", "linf", eps, "", "", ""],
        "true": ["sga", "white_box", "", "", "", "3", "2", "True"],
    }
    assert set(table["k"]) == {"1", "5"}
    assert set(table[table["curve"] == "words"]["attack"]) == {"pgd"}


def test_truth_of_captions_is_a_row_without_k(
    root: Path, tmp_path: Path, make: Callable[..., Cell]
) -> None:
    cell = make("mat", 0, "ensemble")
    write_cell(cell_path(root, defence="mat", seed=0, attack="ensemble"), cell)
    tabulate(root, tmp_path / "m.csv", tmp_path / "m.json")
    table = pd.read_csv(tmp_path / "m.csv", dtype=str, keep_default_na=False)
    (row,) = table[table["metric"] == "caption_truth"].itertuples()
    truth, captions = cell.record["checks"]["captions_true"], cell.record["counts"]
    place = (row.attack, row.protocol, row.direction, row.labels, row.gallery_images, row.k)
    assert place == ("ensemble", "own_pair", "t2i", "one_image", "6", "")
    assert (row.value, row.high, row.confidence) == ("1.0", "1.0", "0.95")
    assert float(row.low) == truth["low"]
    assert row.n == row.successes == str(captions["attacked_captions"])
    assert row.interval == "clopper_pearson"
    assert (row.attacked_images, row.images, row.attack_method) == ("5", "12", "")


@pytest.mark.parametrize("direction", ["i2t", "t2i"])
def test_an_ensemble_about_one_direction_has_no_recall_of_the_other(
    root: Path, tmp_path: Path, make: Callable[..., Cell], direction: str
) -> None:
    cell = make("mat", 0, "ensemble")
    cell.record["attack_config"]["direction"] = direction
    write_cell(cell_path(root, defence="mat", seed=0, attack="ensemble"), cell)
    tabulate(root, tmp_path / "m.csv", tmp_path / "m.json")
    table = pd.read_csv(tmp_path / "m.csv", dtype=str, keep_default_na=False)
    rows = table[table["attack"] == "ensemble"]
    assert set(rows["worst_case"]) == {direction}
    share = rows["metric"] == "caption_truth"
    assert share.sum() == 1
    assert set(rows["direction"][~share]) == {direction}
    others = table[table["attack"] != "ensemble"]
    assert set(others["direction"]) == {"i2t", "t2i"}
    assert set(others["worst_case"]) == {""}


def test_flags_have_a_table_of_their_own(
    root: Path, tmp_path: Path, make: Callable[..., Cell]
) -> None:
    tabulate(root, tmp_path / "m.csv", tmp_path / "m.json")
    assert (tmp_path / "m_flags.csv").read_text() == ",".join(FLAG_COLUMNS) + "\n"
    compared = {"flag": "x", "raised": False, "value": -0.1, "low": -0.2, "high": 0.05}
    for defence, flags in (("standard", [FLAG, {**FLAG, **compared, "against": "pgd"}]),):
        cell = make(defence, 1, "sga")
        record = {**cell.record, "flags": flags}
        where = cell_path(root, defence=defence, seed=1, attack="sga")
        write_cell(where, replace(cell, record=record))
    tabulate(root, tmp_path / "m.csv", tmp_path / "m.json")
    assert (tmp_path / "m_flags.csv").read_text().splitlines()[1:] == [
        "made_up,standard,1,sga,zero_gradients,True,0.5,,,,12",
        "made_up,standard,1,sga,x,False,-0.1,-0.2,0.05,pgd,12",
    ]


def test_cells_under_own_pair_alone_are_summarised_by_names_of_their_own(
    root: Path, tmp_path: Path, make: Callable[..., Cell]
) -> None:
    for seed in (0, 1):
        where = cell_path(root, defence="mat", seed=seed, attack="ensemble")
        write_cell(where, make("mat", seed, "ensemble"))
    tabulate(root, tmp_path / "m.csv", tmp_path / "m.json")
    summary = json.loads((tmp_path / "m.json").read_text())["mat"]
    assert all(not name.startswith("own_pair") for name in summary["sga"])
    table = pd.read_csv(tmp_path / "m.csv")
    chosen = table.query(
        "defence == 'mat' and attack == 'ensemble' and labels == 'one_image' "
        "and direction == 't2i' and metric == 'recall_at_k' and k == 5"
    )
    assert len(chosen) == 2
    found = summary["ensemble"]["own_pair_t2i_recall_at_5"]
    assert found == pytest.approx(chosen["value"].mean(), abs=1e-6)
    assert set(summary["ensemble"]) == {
        f"own_pair_{direction}_{metric}_at_{k}"
        for direction in ("i2t", "t2i")
        for metric in ("recall", "attack_success_rate")
        for k in (1, 5)
    }


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


def test_clean_cells_lead_where_no_order_is_given(
    root: Path, tmp_path: Path, make: Callable[..., Cell]
) -> None:
    where = cell_path(root, defence="mat", seed=0, attack="apgd")
    write_cell(where, make("mat", 0, "apgd"))
    tabulate(root, tmp_path / "m.csv", tmp_path / "m.json")
    table = pd.read_csv(tmp_path / "m.csv").query("defence == 'mat' and seed == 0")
    assert table["attack"].unique().tolist() == ["clean", "apgd", "pgd", "sga"]


def test_cells_of_an_earlier_form_of_the_study_are_passed_over(root: Path, tmp_path: Path) -> None:
    tabulate(root, tmp_path / "m.csv", tmp_path / "m.json", seeds=[1], attacks=["clean"])
    table = pd.read_csv(tmp_path / "m.csv")
    assert set(table["seed"]) == {1}
    assert set(table["attack"]) == {"clean"}
    with pytest.raises(UserError, match="holds none of the study's cells"):
        tabulate(root, tmp_path / "m.csv", tmp_path / "m.json", defences=["other"])


def test_cells_that_are_run_on_other_defences_alone_are_passed_over(
    root: Path, tmp_path: Path
) -> None:
    tabulate(root, tmp_path / "m.csv", tmp_path / "m.json", only={"pgd": ["mat"], "sga": ["other"]})
    table = pd.read_csv(tmp_path / "m.csv")
    cells = {(row.defence, row.attack) for row in table.itertuples()}
    assert cells == {("mat", "clean"), ("mat", "pgd"), ("standard", "clean")}


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


def test_summary_is_of_one_image_labels_in_the_main_galleries() -> None:
    about = {"defence": "mat", "attack": "sga", "seed": 0, "protocol": "full_gallery"}
    about |= {"direction": "i2t", "metric": "recall_at_k", "k": 1}
    rows = [
        about | {"labels": labels, "gallery_images": size, "value": value}
        for labels, size, value in (
            *(("one_image", 6, 0.25), ("positives", 6, 0.75)),
            *(("one_image", 12, 0.5), ("positives", 12, 1.0)),
        )
    ]
    found = summarise(pd.DataFrame(rows), gallery_images=6)
    assert found == {"mat": {"sga": {"i2t_recall_at_1": 0.25}}}


def test_bytes_are_the_same_twice(root: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        tabulate(root, tmp_path / f"{name}.csv", tmp_path / f"{name}.json")
    for suffix in (".csv", ".json", "_flags.csv"):
        once, again = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
        assert once == again


def test_no_cells_and_misplaced_cells_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no cells"):
        tabulate(tmp_path / "none", tmp_path / "m.csv", tmp_path / "m.json")
    (root / "mat" / "seed0").rename(root / "mat" / "seed7")
    with pytest.raises(UserError, match="not that of its path"):
        tabulate(root, tmp_path / "m.csv", tmp_path / "m.json")
    assert not (tmp_path / "m.csv").exists()
