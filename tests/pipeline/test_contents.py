"""Files that were changed under an old time get a new one; others keep theirs."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mmrobust.pipeline import contents
from mmrobust.pipeline.contents import read_from, renew_times
from mmrobust.study import load_study

SMOKE = Path(__file__).parents[2] / "config" / "smoke.yaml"
OLD = time.time() - 10_000
DATA = Path("data")


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    """Two files under an old time, both of which a job read as they are."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "deep/b"):
        (DATA / name).parent.mkdir(parents=True, exist_ok=True)
        (DATA / name).write_text("content")
        os.utime(DATA / name, (OLD, OLD))
    record("out", {"data/a": "content", "data/deep/b": "content"})


def record(output: str, inputs: dict[str, str]) -> None:
    checksums = {
        name: f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" for name, text in inputs.items()
    }
    path = Path(".snakemake/metadata") / output
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"input_checksums": checksums}))


def change(name: str) -> Path:
    path = DATA / name
    path.write_text("CONTENT")
    os.utime(path, (OLD, OLD))
    return path


def renewed() -> list[Path]:
    return renew_times([DATA], warn=pytest.fail)


def test_a_file_that_is_as_it_was_read_keeps_its_time():
    assert renewed() == []
    assert (DATA / "a").stat().st_mtime == pytest.approx(OLD)


def test_a_changed_file_gets_a_new_time():
    assert renewed() == []
    path = change("deep/b")
    assert renewed() == [path]
    assert path.stat().st_mtime > OLD + 9_000
    assert (DATA / "a").stat().st_mtime == pytest.approx(OLD)
    assert renewed() == []


def test_a_file_is_compared_once(monkeypatch):
    assert renewed() == []
    monkeypatch.setattr(contents, "sha256_file", lambda _: pytest.fail("it is read again"))
    assert renewed() == []


def test_a_broken_note_costs_time_and_nothing_else():
    Path(".snakemake/compared.json").write_text("{")
    path = change("a")
    assert renewed() == [path]
    Path(".snakemake/compared.json").write_text("{")
    assert renewed() == []


def test_what_one_of_several_jobs_read_otherwise_gets_a_new_time():
    record("deep/other", {"data/a": "former"})
    assert renewed() == [DATA / "a"]


def test_what_no_job_read_keeps_its_time():
    (DATA / "c").write_text("content")
    os.utime(DATA / "c", (OLD, OLD))
    assert renewed() == []


def test_of_a_link_it_is_the_time_of_the_link(tmp_path):
    path = change("a")
    link = tmp_path / "link"
    link.symlink_to(path.resolve())
    os.utime(link, (OLD, OLD), follow_symlinks=False)
    record("linked", {"link": "content"})
    assert renew_times([Path("link")], warn=pytest.fail) == [Path("link")]
    assert link.lstat().st_mtime > OLD + 9_000
    assert path.stat().st_mtime == pytest.approx(OLD)


def test_a_dangling_link_and_a_missing_place_are_passed_over(tmp_path):
    (tmp_path / "data" / "link").symlink_to(tmp_path / "nowhere")
    assert renew_times([DATA, Path("missing")], warn=pytest.fail) == []


def test_a_time_that_cannot_be_set_is_told_each_time(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    change("a")
    monkeypatch.setattr(os, "utime", refuse)
    for _ in range(2):
        warned: list[str] = []
        assert renew_times([DATA], warn=warned.append) == []
        assert warned == [
            "data/a: was changed under an old time and can't get a new one "
            "(Operation not permitted); what is made from it is stale"
        ]


def test_what_the_jobs_of_a_study_read_is_looked_at(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "a.ipynb").touch()
    (tmp_path / "data" / "raw" / "of_it").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "of_it" / "sources.json").touch()
    study = load_study(SMOKE)
    named = {
        "model": {"pretrained": {"name": "RN50", "weights": "own/clip.pt"}},
        "judge": {**study.judge, "model": {"pretrained": {"name": "RN101", "weights": "openai"}}},
        "masked_lm": {"pretrained": {"name": "own/bert"}},
        "augmentations": {"described": {"method": "captioner", "model": "own/captioner"}},
        "threat_models": {"a": {"source": "own/models/a"}, "b": {"source": "standard"}, "c": {}},
    }
    always = {
        "data/processed/smoke",
        "data/augmented/smoke",
        "results/smoke",
        "config/claims.yaml",
        "notebooks/a.ipynb",
        "data/raw/of_it/sources.json",
    }
    assert {str(path) for path in read_from(study)} == always
    assert {str(path) for path in read_from(replace(study, **named))} == always | {
        "own/clip.pt",
        "openai",
        "own/bert",
        "own/captioner",
        "own/models/a",
    }


def test_a_half_written_record_is_passed_over():
    """Snakemake's of a job that is just ending, or of a run that was killed."""
    Path(".snakemake/metadata/half").write_text('{"input_checksums": {"data/')
    assert renewed() == []
    path = change("deep/b")
    assert renewed() == [path]
