"""Times of jobs and cells, from what past runs left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmrobust.artifacts import write_json
from mmrobust.pipeline.past_runs import PastRuns


@pytest.fixture
def past(tmp_path):
    return past_runs(tmp_path)


def past_runs(tmp_path: Path) -> PastRuns:
    folders = {name: tmp_path / name for name in ("logs", "results", "store")}
    return PastRuns("smoke", **folders)


def benchmark(path: Path, *seconds: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{of}\t0:00:01\n" for of in seconds)
    path.write_text(f"s\th:m:s\n{rows}")
    return path


def test_a_job_takes_as_long_as_last_time_or_as_its_like(past, tmp_path):
    logs = tmp_path / "logs" / "smoke"
    own = benchmark(logs / "train_model" / "mat_seed0.tsv", 99, 10)
    benchmark(logs / "train_model" / "tecoa_seed0.tsv", 20)
    (logs / "train_model" / "broken.tsv").write_text("s\n-\n")
    assert past.job(own) == 10
    assert past.job(logs / "train_model" / "fare_seed0.tsv") == 15
    assert past.job(logs / "augment_data" / "eda.tsv") is None
    benchmark(logs / "prepare_data.tsv", 3)
    assert past.job(logs / "prepare_data.tsv") == 3
    assert past.job(logs / "train_tokenizer.tsv") is None, "no like of one that stands alone"


def facts(tmp_path: Path, defence: str, times: dict[str, float], computed: list[str]) -> None:
    path = tmp_path / "results" / "smoke" / "cells" / defence / "seed0" / "run.json"
    write_json(path, {"cell_seconds": times, "cells_computed": computed})


def test_cells_take_as_long_as_when_they_were_computed(past, tmp_path):
    facts(tmp_path, "mat", {"clean": 1, "pgd": 10, "sga": 100}, ["clean", "pgd"])
    facts(tmp_path, "tecoa", {"clean": 3, "pgd": 20}, ["clean", "pgd"])
    assert past.cells("mat", "0", ["pgd", "sga"]) == 110
    assert past.cells("tecoa", "0", ["pgd", "sga"]) == 20 + 100, "a cell as on other models"
    assert past.cells("fare", "0", ["clean"]) == 2
    assert past.cells("mat", "0", ["square"]) == pytest.approx(134 / 5), "an unknown cell as any"


def test_what_an_evaluation_takes_beside_its_cells_is_added(past, tmp_path):
    facts(tmp_path, "mat", {"clean": 1, "pgd": 10, "sga": 100}, ["clean", "pgd"])
    benchmark(tmp_path / "logs" / "smoke" / "evaluate_model" / "mat_seed0.tsv", 18)
    assert past.cells("mat", "0", ["pgd"]) == 10 + 7
    assert past.cells("mat", "0", []) == 7


def stored(
    tmp_path: Path, name: str, defence: str, attack: str, seconds: float, *, study: str = "smoke"
) -> Path:
    folder = tmp_path / "store" / name
    record = {"study": study, "defence": defence, "seed": 0, "attack": attack}
    write_json(folder / "cell.json", record)
    write_json(folder / "seconds.json", seconds)
    return folder / "seconds.json"


def test_cells_that_a_part_of_the_study_asked_for_are_known(past, tmp_path):
    before = stored(tmp_path, "a", "mat", "pgd", 5)
    os.utime(before, (0, 0))
    stored(tmp_path, "b", "mat", "pgd", 7)
    stored(tmp_path, "c", "mat", "clean", 1)
    stored(tmp_path, "d", "mat", "sga", 99, study="another")
    (stored(tmp_path, "e", "mat", "sga", 99)).with_name("cell.json").write_text("{")
    assert past.cells("mat", "0", ["pgd"]) == 7, "as when it was computed last"
    assert past.cells("tecoa", "0", ["clean", "pgd"]) == 8
    facts(tmp_path, "mat", {"clean": 2, "sga": 100}, [])
    assert past_runs(tmp_path).cells("mat", "0", ["clean", "sga", "pgd"]) == 109


def test_what_a_job_of_one_cell_takes_beside_it_is_added(past, tmp_path):
    logs = tmp_path / "logs" / "smoke" / "evaluate_cell"
    for name, seconds, took in [("clean", 1, 9), ("pgd", 5, 15), ("worst", 6, 30), ("sga", 50, 8)]:
        stored(tmp_path, name, "mat", name, seconds)
        benchmark(logs / f"mat_seed0_{name}.tsv", took)
    assert past.cells("mat", "0", ["pgd"]) == 5 + 8
    facts(tmp_path, "mat", {"pgd": 5}, ["pgd"])
    benchmark(tmp_path / "logs" / "smoke" / "evaluate_model" / "mat_seed0.tsv", 7)
    assert past_runs(tmp_path).cells("mat", "0", ["pgd"]) == 5 + 2, "of a whole one it is known"


def test_without_a_past_there_is_no_estimate(past, tmp_path):
    assert past.cells("mat", "0", ["pgd"]) is None
    path = tmp_path / "results" / "smoke" / "cells" / "mat" / "seed0" / "run.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert past_runs(tmp_path).cells("mat", "0", ["pgd"]) is None
