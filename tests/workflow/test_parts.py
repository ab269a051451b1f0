"""Parts of a finished study that are asked for by name, and what a plan says of them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.faults.verbs import run_verb

pytestmark = pytest.mark.workflow

CONFIG = Path("config/smoke.yaml")
SMOKE = ["--cores", "2", "--configfile", str(CONFIG)]
CELLS = Path("results/smoke/cells/mat/seed0")


@pytest.fixture
def changed(changed_clone, monkeypatch) -> Path:
    """A copy of the finished clone, to change; the test is in it."""
    monkeypatch.chdir(changed_clone)
    return changed_clone


def configure(**sections: Any) -> None:
    config = yaml.safe_load(CONFIG.read_text())
    for name, entries in sections.items():
        config[name] |= entries
    CONFIG.write_text(yaml.safe_dump(config, sort_keys=False))


def planned(*targets: str) -> list[str]:
    ended = run_verb(("plan", *targets, "--configfile", str(CONFIG), "--cores", "2"), Path())
    assert ended.status == 0, ended.told
    return ended.told.splitlines()


def test_nothing_is_planned_of_a_finished_study(changed):
    assert planned() == ["smoke: nothing would run, all is up to date"]


def test_a_plan_names_jobs_cells_and_the_time_they_took(changed):
    first = yaml.safe_load(CONFIG.read_text())["attacks"]["pgd"]
    configure(attacks={"one_more": {**first, "defences": ["mat", "tecoa"]}})
    head, *lines = planned()
    assert head.startswith("smoke: 7 of 27 jobs would run, about ")
    assert head.endswith(" s on 2 cores")
    assert [line.split()[:2] for line in lines[1:-2]] == [
        ["evaluate_model", "2"],
        *([rule, "1"] for rule in ("judge_claims", "tabulate_metrics")),
        *([rule, "1"] for rule in ("draw_examples", "draw_figures", "write_report")),
    ]
    assert lines[-2] == "cells, 2 in all:"
    assert lines[-1] == "  mat seed 0, tecoa seed 0: one_more"
    shutil.rmtree("work/cells")
    assert planned()[-2] == "cells, 26 in all:", "what the store lost is computed again"


def test_a_plan_of_a_model_that_is_trained_anew_has_all_its_cells(changed):
    tecoa = yaml.safe_load(CONFIG.read_text())["defences"]["tecoa"]
    configure(defences={"tecoa": {**tecoa, "steps": 2}})
    lines = planned()
    assert any(line.split()[:2] == ["train_model", "1"] for line in lines)
    assert "cells, 12 in all:" in lines
    assert planned("results/smoke/cells/mat/seed0/pgd.json") == [
        "smoke: nothing would run, all is up to date"
    ]


def test_an_attack_is_computed_once_for_its_part_and_for_the_study(changed, tool):
    """The part has its own table; the study then finds the cell in the store."""
    first = yaml.safe_load(CONFIG.read_text())["attacks"]["pgd"]
    configure(attacks={"one_more": {**first, "steps": 3, "defences": ["mat"]}})
    done = tool("snakemake", *SMOKE, "--", "attack_one_more", cwd=changed)
    assert "train_model" not in done.stdout
    assert "dvc: nothing recorded: only a part of the study was asked for" in done.stdout
    with Path("results/smoke/parts/attack_one_more/metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["defence"], row["attack"]) for row in rows} == {
        ("mat", "clean"),
        ("mat", "one_more"),
    }
    before = {path.name: path.read_bytes() for path in CELLS.iterdir()}
    assert not (CELLS / "one_more.json").exists()
    assert [line.split()[:2] for line in planned(str(CELLS / "one_more.json"))[2:]] == [
        ["evaluate_model", "1"]
    ], "no cell is left to compute"
    tool("snakemake", *SMOKE, "--", str(CELLS / "one_more.json"), cwd=changed)
    assert json.loads((CELLS / "run.json").read_text())["cells_computed"] == []
    assert set(json.loads((CELLS / "run.json").read_text())["cell_seconds"]) == {
        path.stem for path in CELLS.glob("*.parquet")
    }
    after = {path.name: path.read_bytes() for path in CELLS.iterdir()}
    assert set(after) - set(before) == {"one_more.json", "one_more.parquet"}
    assert [name for name in before if name != "run.json" and before[name] != after[name]] == []
    part = Path("results/smoke/parts/cells/mat/seed0")
    assert (part / "one_more.parquet").read_bytes() == after["one_more.parquet"]


def test_a_claim_is_judged_from_what_it_compares(changed, tool):
    claim = yaml.safe_load(CONFIG.read_text())["claims"][0]
    shutil.rmtree("results/smoke/cells")
    shutil.rmtree("results/smoke/examples")
    tool("snakemake", *SMOKE, "--", f"claim_{claim}", cwd=changed)
    with Path(f"results/smoke/parts/claim_{claim}/claims.csv").open(newline="") as stream:
        [row] = list(csv.DictReader(stream))
    with Path("results/smoke/claims.csv").open(newline="") as stream:
        [whole] = [of for of in csv.DictReader(stream) if of["id"] == claim]
    same = ("id", "statistic", "estimate", "low", "high", "n", "seeds")
    assert [row[name] for name in same] == [whole[name] for name in same]
    assert float(row["verdict_confidence"]) == 0.975, "as one of two claims"
    assert not Path("results/smoke/cells").exists()


def test_dvc_compares_metrics_and_plots(changed, tool, run_git):
    run_git(changed, "commit", "--quiet", "--no-verify", "--all", "--message", "Record")
    path = Path("results/smoke/metrics.json")
    summary = json.loads(path.read_text())
    before = summary["mat"]["sga"]["i2t_recall_at_1"]
    summary["mat"]["sga"]["i2t_recall_at_1"] = before + 0.5
    path.write_text(json.dumps(summary))
    told = json.loads(tool("dvc", "metrics", "diff", "--json", cwd=changed).stdout)
    change = {"old": before, "new": before + 0.5, "diff": 0.5}
    assert told == {"results/smoke/metrics.json": {"mat.sga.i2t_recall_at_1": change}}
    table = Path("results/smoke/metrics.csv")
    table.write_text("\n".join(table.read_text().splitlines()[:10]))
    tool("dvc", "plots", "diff", "--targets", str(table), "--out", "plots", cwd=changed)
    page = Path("plots/index.html").read_text()
    assert "results/smoke/metrics.csv" in page
    assert "workspace" in page
    assert "HEAD" in page


def test_an_experiment_reruns_what_its_parameter_changes(changed, tool, run_git):
    run_git(changed, "commit", "--quiet", "--no-verify", "--all", "--message", "Record")
    change = ["--set-param", f"{CONFIG}:title=Another", "report@smoke"]
    done = tool("dvc", "exp", "run", *change, cwd=changed, PYTHONPATH=str(changed / "src"))
    assert "Running stage 'jobs@smoke'" in done.stdout
    assert "Stage 'evaluation@smoke' didn't change, skipping" in done.stdout
    assert "rule write_report" in done.stdout
    assert "rule judge_claims" not in done.stdout
    assert "<title>Another" in Path("results/smoke/report.html").read_text()
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    assert lock["stages"]["report@smoke"]["params"][str(CONFIG)]["title"] == "Another"


def test_what_fails_leaves_the_rest_usable_and_the_report_marks_it(changed, tool):
    """A defence that can't be trained: others are kept and shown, and nothing stale is."""
    config = yaml.safe_load(CONFIG.read_text())
    mat = config["defences"]["mat"]
    config["defences"]["broken"] = {**mat, "training": {**mat["training"], "items": 100_000}}
    config["attacks"]["pgd"]["steps"] = 4
    CONFIG.write_text(yaml.safe_dump(config, sort_keys=False))
    targets = ["results/smoke/models/broken/seed0/model.json", str(CELLS / "pgd.json")]
    one = ["--cores", "1", "--configfile", str(CONFIG)]
    failed = tool("snakemake", *one, "--", *targets, cwd=changed, check=False)
    assert failed.returncode != 0
    assert "training.items" in failed.stdout
    assert "rule evaluate_model" in failed.stdout.partition("Error in rule train_model")[2]
    assert json.loads((CELLS / "pgd.json").read_text())["attack_config"]["steps"] == 4
    assert f"`python -m mmrobust report-so-far --configfile {CONFIG}`" in failed.stdout
    written = run_verb(("report-so-far", "--configfile", str(CONFIG)), changed)
    assert written.status == 0, written.told
    told = written.told.splitlines()[-1]  # the notebooks' kernels may warn before
    assert told == "12 of 72 cells are there: results/smoke/so_far/report.html"
    page = Path("results/smoke/so_far/report.html").read_text()
    assert "Smoke test (so far: 12 of 72 cells)" in page
    assert "missing" in page
    with Path("results/smoke/so_far/metrics.csv").open(newline="") as stream:
        assert {row["defence"] for row in csv.DictReader(stream)} == {"mat"}
    with Path("results/smoke/so_far/claims.csv").open(newline="") as stream:
        assert {row["verdict"] for row in csv.DictReader(stream)} == {"missing"}
    assert Path("results/smoke/so_far/figures/recall_by_defence.png").stat().st_size > 10_000


@pytest.mark.parametrize("verb", ["plan", "why"])
def test_a_target_that_no_rule_makes_is_told_with_the_nearest(changed, verb):
    ended = run_verb((verb, "attack_pdg", "--configfile", str(CONFIG)), Path())
    assert ended.status == 2
    (line,) = ended.told.splitlines()
    assert "no rule makes 'attack_pdg'; did you mean 'attack_pgd'? (allowed: " in line


def test_a_plan_says_that_it_knows_no_time(changed):
    Path("results/smoke/report.html").unlink()
    for timed in Path("logs/smoke").rglob("*.tsv"):
        timed.unlink()
    head, *_ = planned()
    assert head == (
        "smoke: 1 of 27 jobs would run; nothing like them has run here yet, so how long it takes "
        "is not known"
    )
