"""The smoke study from nothing to its report, in fresh clones: all rules, real jobs."""

from __future__ import annotations

import csv
import getpass
import json
import os
import socket
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.workflow

SMOKE = ["--configfile", "config/smoke.yaml"]


@pytest.fixture(scope="module")
def clone(smoke_run) -> Path:
    return smoke_run[0]


def test_it_ends_with_a_report_and_a_verdict_on_each_claim(clone):
    config = yaml.safe_load((clone / "config" / "smoke.yaml").read_text())
    with (clone / "results" / "smoke" / "claims.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == config["claims"]
    assert "missing" not in {row["verdict"] for row in rows}
    report = (clone / "results" / "smoke" / "report.html").read_text(encoding="utf-8")
    for row in rows:
        assert f"<code>{row['id']}</code>" in report
        assert f'<span class="badge {row["verdict"]}">' in report


def test_the_second_run_does_nothing(clone, tool):
    done = tool("snakemake", "--cores", "2", *SMOKE, cwd=clone)
    assert "Nothing to be done" in done.stdout


def test_touched_files_rerun_nothing(changed_clone, tool):
    for folder in ("src", "config", "notebooks", "workflow", "data/processed/smoke"):
        for path in (changed_clone / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                os.utime(path)
    done = tool("snakemake", "--cores", "1", "--dry-run", *SMOKE, cwd=changed_clone)
    assert "Nothing to be done" in done.stdout


def test_dvc_has_recorded_every_phase(smoke_run, tool):
    clone, printed = smoke_run
    phases = ("data", "augmentation", "models", "evaluation", "report")
    stages = [f"{phase}@smoke" for phase in phases]
    recorded = [line for line in printed.splitlines() if line.startswith("dvc: recorded")]
    assert len(recorded) == 1, printed
    assert all(stage in recorded[0] for stage in stages)
    assert tool("dvc", "status", *stages, cwd=clone).stdout.endswith("up to date.\n")


def test_run_facts_name_no_host_user_or_path(clone):
    facts = sorted((clone / "results" / "smoke").rglob("run.json"))
    assert facts
    for path in facts:
        content = json.loads(path.read_text())
        assert {"processor", "cores", "memory_gb", "versions", "wall_s"} <= set(content)
        text = path.read_text()
        assert str(clone) not in text
        assert socket.gethostname() not in text
        assert f'"{getpass.getuser()}"' not in text


def test_no_job_needs_more_than_4_gb(clone):
    facts = sorted((clone / "results" / "smoke").rglob("run.json"))
    peaks = {str(path): json.loads(path.read_text())["peak_memory_mb"] for path in facts}
    for path in sorted((clone / "logs" / "smoke").rglob("*.tsv")):
        with path.open(newline="") as stream:
            [measured] = csv.DictReader(stream, delimiter="\t")
        # Snakemake samples every few seconds: a job that is shorter it may miss, or meet at 0.
        if measured["max_rss"] not in ("-", "NA") and float(measured["max_rss"]) > 0:
            peaks[str(path)] = float(measured["max_rss"])
    assert any(name.endswith(".tsv") for name in peaks)
    assert {name: peak for name, peak in peaks.items() if not 0 < peak < 4096} == {}


def test_dvc_would_run_nothing(clone, tool):
    done = tool("dvc", "repro", "--dry", "report@smoke", cwd=clone)
    assert done.stdout.count("didn't change, skipping") == 6
    assert "Running" not in done.stdout


def test_a_new_attack_computes_its_own_cell_only(changed_clone, tool):
    config = changed_clone / "config" / "smoke.yaml"
    content = yaml.safe_load(config.read_text())
    content["attacks"]["one_more"] = next(iter(content["attacks"].values()))
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    defence, seed = next(iter(content["defences"])), content["seeds"][0]
    folder = changed_clone / "results" / "smoke" / "cells" / defence / f"seed{seed}"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    target = str((folder / "one_more.json").relative_to(changed_clone))
    done = tool("snakemake", "--cores", "1", *SMOKE, "--", target, cwd=changed_clone)
    assert "train_model" not in done.stdout
    assert json.loads((folder / "run.json").read_text())["cells_computed"] == ["one_more"]
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(after) - set(before) == {"one_more.json", "one_more.parquet"}
    assert [name for name in before if name != "run.json" and before[name] != after[name]] == []


def cells(clone: Path) -> dict[str, bytes]:
    """All cells of the study, but the facts of their runs."""
    paths = sorted((clone / "results" / "smoke" / "cells").rglob("*"))
    kept = [path for path in paths if path.is_file() and path.name != "run.json"]
    return {str(path.relative_to(clone)): path.read_bytes() for path in kept}


def test_a_deleted_cell_is_made_again_from_the_store(changed_clone, tool):
    """What is told of a broken one: delete it and run again."""
    before = cells(changed_clone)
    folder = changed_clone / "results" / "smoke" / "cells" / "standard" / "seed0"
    (folder / "pgd.json").unlink()
    done = tool("snakemake", "--cores", "2", *SMOKE, "--", "evaluation", cwd=changed_clone)
    assert "train_model" not in done.stdout
    assert cells(changed_clone) == before
    assert json.loads((folder / "run.json").read_text())["cells_computed"] == []
