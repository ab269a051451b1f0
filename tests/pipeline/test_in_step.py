"""Whether `dvc.lock` is in step with what is committed, told in a clone without data."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mmrobust.errors import UserError
from mmrobust.pipeline.in_step import out_of_step
from mmrobust.pipeline.jobs import PHASES
from mmrobust.pipeline.restore import restore


@pytest.fixture
def clone(fresh_clone, monkeypatch) -> Path:
    folder = fresh_clone("ledger")
    monkeypatch.chdir(folder)
    return folder


def test_the_committed_ledger_is_in_step(clone):
    """Of every study whose results are committed."""
    assert out_of_step() == []


def test_a_study_without_stages_is_not_in_step_and_can_not_be_restored(clone):
    config = Path("config/mine.yaml")
    config.write_text(Path("config/smoke.yaml").read_text().replace("study: smoke", "study: mine"))
    missing = [f"{phase}@mine: dvc.yaml has no such stage" for phase in PHASES]
    assert out_of_step(["mine"]) == missing
    with pytest.raises(UserError, match="mine can't be restored"):
        restore(config)
    shutil.copytree("results/smoke", "results/mine")
    assert "mine" not in str(out_of_step()), "results that are not committed are nobody's but yours"
    subprocess.run(["git", "add", "--force", "results/mine"], check=True)
    assert out_of_step()[: len(PHASES)] == missing


@pytest.mark.parametrize("name", ["dvc.lock", "dvc.yaml"])
def test_a_broken_file_is_one_line(clone, name):
    path = Path(name)
    path.write_text(f"<<<<<<< HEAD\n{path.read_text()}")
    for call in (out_of_step, lambda: restore(Path("config/smoke.yaml"))):
        with pytest.raises(UserError) as told:
            call()
        assert name in str(told.value)
        assert "\n" not in str(told.value)
