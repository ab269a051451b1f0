from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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


def test_a_configuration_is_checked_with_its_claims_and_classes(tmp_path: Path) -> None:
    study = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "smoke.yaml"

    def checked(**sections: object) -> subprocess.CompletedProcess[str]:
        path.write_text(yaml.safe_dump({**study, **sections}), encoding="utf-8")
        return mmrobust("check-config", str(path))

    done = checked(claims=["mat_beats_fare_at_worst"])
    assert (done.returncode, done.stderr) == (
        0,
        f"mmrobust: warning: {path}: claims: 'mat_beats_fare_at_worst' will be missing: the study "
        "has no cell fare/strongest\n",
    )
    done = checked(claims=["mat_beats_far"])
    assert (done.returncode, done.stdout) == (2, "")
    assert f"unknown claim in {path}: claims: 'mat_beats_far'; did you mean" in done.stderr
    done = checked(augmentations={**study["augmentations"], "said": {"method": "rewrite", "n": 2}})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"mmrobust: error: {path}: augmentations: rewrite: give either `model` or `endpoint`\n"
    )


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
