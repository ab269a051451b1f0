"""The smoke study through Slurm, and what it did there."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from tests.workflow.test_kills import SMOKE, results

CLOSING = {
    *("tabulate_augmentations", "tabulate_sweeps", "tabulate_metrics", "judge_claims"),
    *("draw_figures", "draw_examples", "write_report"),
}


@pytest.fixture(scope="module")
def clone(fresh_clone) -> Path:
    return fresh_clone("slurm")


@pytest.fixture(scope="module")
def done(clone, submit):
    """The run that made the whole study through Slurm."""
    run = submit(clone, *SMOKE)
    assert run.status == 0, run.printed
    return run


@pytest.mark.usefixtures("done")
def test_it_ends_with_the_bytes_of_a_local_run(clone, local_run):
    ours, theirs = results(clone), results(local_run)
    assert len(ours) > 200
    assert set(ours) == set(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_each_job_was_one_of_slurm_and_the_closing_ones_were_one_together(done):
    assert Counter(job.state for job in done.jobs) == {"COMPLETED": 21}
    rules = Counter(re.sub("_wildcards.*|(?<=closing)_.*", "", job.name) for job in done.jobs)
    assert rules == {
        "rule_prepare_data": 1,
        "rule_augment_data": 3,
        "rule_measure_augmentation": 3,
        "rule_train_tokenizer": 1,
        "rule_train_masked_lm": 1,
        "rule_train_judge": 1,
        "rule_train_model": 5,
        "rule_evaluate_model": 5,
        "rule_closing": 1,
    }
    finished = set(re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", done.printed))
    assert finished >= CLOSING


@pytest.mark.usefixtures("done")
def test_another_run_does_nothing_there_or_here(clone, tool):
    for where in (("--profile", "profiles/slurm"), ("--cores", "1")):
        again = tool("snakemake", *where, "--dry-run", *SMOKE, cwd=clone)
        assert "Nothing to be done" in again.stdout


def test_the_ledger_has_recorded_every_phase(clone, done, tool):
    phases = ("data", "augmentation", "models", "evaluation", "report")
    stages = [f"{phase}@smoke" for phase in phases]
    [recorded] = [line for line in done.printed.splitlines() if line.startswith("dvc: recorded")]
    assert all(stage in recorded for stage in stages)
    assert tool("dvc", "status", *stages, cwd=clone).stdout.endswith("up to date.\n")
