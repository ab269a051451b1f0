from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def mmrobust(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mmrobust", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_bad_input_ends_in_one_line_and_status_2(tmp_path: Path) -> None:
    missing = tmp_path / "study.yaml"
    done = mmrobust("check-config", str(missing))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"mmrobust: error: {missing}: file is missing\n"


def test_a_good_configuration_passes() -> None:
    done = mmrobust("check-config", "config/smoke.yaml")
    assert done.returncode == 0
    assert done.stdout == "config/smoke.yaml: study 'smoke' is well-formed\n"


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        ({"name": "scenes", "image_size": 3}, "image_size"),
        ({"name": "scenes", "imagesize": 32}, "did you mean 'image_size'"),
        ({"name": "imagenet"}, "unknown dataset 'imagenet'"),
    ],
)
def test_a_verb_leaves_nothing_behind_when_refused(
    tmp_path: Path, dataset: dict[str, object], told: str
) -> None:
    cfg = json.dumps({"dataset": dataset, "data_seed": 0})
    done = mmrobust("prepare-data", "--cfg", cfg, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_json_that_is_none_is_told() -> None:
    done = mmrobust("prepare-data", "--cfg", "{", "--out", "x")
    assert done.returncode == 2
    assert "--cfg: not valid JSON" in done.stderr
