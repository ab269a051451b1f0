"""Recall in several gallery sizes at once; the first is the main one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmrobust.config import EvaluationConfig, build
from mmrobust.errors import UserError
from mmrobust.evaluation.cells import (
    Cell,
    Origin,
    build_cell,
    cell_path,
    gallery_counts,
    read_cell,
    write_cell,
)
from mmrobust.evaluation.metrics import cell_rates
from mmrobust.evaluation.retrieval import Embeddings, split_ranks
from mmrobust.evaluation.tables import tabulate

World = Callable[..., Embeddings]
Ranks = Callable[..., pd.DataFrame]
Build = Callable[..., Cell]


@pytest.fixture
def build_of_sizes(
    made_up: World, unattacked: World, outcomes_of: Ranks, threat_model: Any
) -> Build:
    def built(*sizes: int, defence: str = "mat") -> Cell:
        world = made_up(0, n_images=24)
        origin = Origin(
            study="made_up",
            dataset="scenes",
            split="test",
            source_resolution=None,
            defence=defence,
            seed=3,
        )
        return build_cell(
            origin,
            attack="sga",
            attack_config={},
            threat_model=threat_model(),
            curve=None,
            counts=gallery_counts(world, gallery_images=sizes),
            outcomes=outcomes_of(world, gallery_images=sizes),
            clean_outcomes=outcomes_of(unattacked(world), gallery_images=sizes),
            config=EvaluationConfig(gallery_images=(1,), ks=(1, 5), n_resamples=50),
            checks={},
        )

    return built


def of_size(cell: Cell, size: int) -> list[dict[str, Any]]:
    return [metric for metric in cell.record["metrics"] if metric["gallery_images"] == size]


@pytest.mark.parametrize("sizes", [(12, 4), (4, 12), (24, 2, 6)])
def test_several_sizes_in_a_cell_give_the_numbers_of_cells_of_one_size(
    build_of_sizes: Build, sizes: Sequence[int]
) -> None:
    together = build_of_sizes(*sizes)
    apart = [build_of_sizes(size) for size in sizes]
    outcomes = pd.concat([cell.outcomes for cell in apart], ignore_index=True)
    pd.testing.assert_frame_equal(together.outcomes, outcomes)
    rows = [metric for cell in apart for metric in cell.record["metrics"]]
    assert together.record["metrics"] == rows
    galleries = [gallery for cell in apart for gallery in cell.record["counts"]["galleries"]]
    assert together.record["counts"]["galleries"] == galleries
    values = [[metric["value"] for metric in of_size(together, size)] for size in sizes]
    assert values[0] != values[1]


def test_rates_are_kept_apart_by_size(made_up: World) -> None:
    world = made_up(0)
    rates = cell_rates(split_ranks(world, gallery_images=[6, 3]), None, ks=(1,))
    assert [rate.gallery_images for rate in rates] == [6] * 8 + [3] * 8
    for rate in rates:
        queries = 12 if rate.direction == "i2t" else len(world.clean_text)
        assert rate.counts.sum() == queries


def test_round_trip_keeps_the_main_size_first(tmp_path: Path, build_of_sizes: Build) -> None:
    cell = build_of_sizes(4, 12)
    path = cell_path(tmp_path, defence="mat", seed=3, attack="sga")
    write_cell(path, cell)
    found = read_cell(path)
    assert found.record == cell.record
    pd.testing.assert_frame_equal(found.outcomes, cell.outcomes)
    record = json.loads(path.read_text())
    record["counts"]["galleries"].reverse()
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"gallery_images must be \[12, 4\], in this order"):
        read_cell(path)


def test_the_main_size_is_summarised_and_leads_the_table(
    tmp_path: Path, build_of_sizes: Build
) -> None:
    both, main = tmp_path / "both", tmp_path / "main"
    for root, sizes in ((both, (4, 12)), (main, (4,))):
        path = cell_path(root / "cells", defence="mat", seed=3, attack="sga")
        write_cell(path, build_of_sizes(*sizes))
        tabulate(root / "cells", root / "m.csv", root / "m.json", root / "f.csv")
    assert (both / "m.json").read_bytes() == (main / "m.json").read_bytes()
    table, of_main = pd.read_csv(both / "m.csv"), pd.read_csv(main / "m.csv")
    pd.testing.assert_frame_equal(table.iloc[: len(of_main)], of_main)
    assert list(table["gallery_images"].unique()) == [4, 12]
    counts = build_of_sizes(4, 12).record["counts"]
    for gallery in counts["galleries"]:
        rows = table[table["gallery_images"] == gallery["gallery_images"]]
        assert len(rows) == len(table) / 2
        for direction, positives in gallery["positives_per_query"].items():
            found = rows[rows["direction"] == direction]["positives_per_query"]
            assert found.to_numpy() == pytest.approx(positives)


def test_cells_of_a_study_must_have_the_same_sizes(tmp_path: Path, build_of_sizes: Build) -> None:
    for defence, sizes in (("mat", (4, 12)), ("tecoa", (12, 4))):
        path = cell_path(tmp_path, defence=defence, seed=3, attack="sga")
        write_cell(path, build_of_sizes(*sizes, defence=defence))
    told = r"tecoa/seed3/sga\.json: has galleries of \[12, 4\] images, but .* of \[4, 12\]"
    with pytest.raises(UserError, match=told):
        tabulate(tmp_path, *(tmp_path / name for name in ("m.csv", "m.json", "f.csv")))
    assert not (tmp_path / "m.csv").exists()


def test_configured_sizes_are_one_or_several_distinct_ones() -> None:
    found = build(EvaluationConfig, {"gallery_images": [1000, 100]}, where="evaluation")
    assert found.gallery_images == (1000, 100)
    for wrong in ([], [5, 5], [0], 100, ["many"]):
        with pytest.raises(UserError, match=r"^evaluation\.gallery_images"):
            build(EvaluationConfig, {"gallery_images": wrong}, where="evaluation")
    for sizes in ((), (5, 5)):
        with pytest.raises(UserError, match=r"must be one or several distinct numbers \(got "):
            EvaluationConfig(gallery_images=sizes)
