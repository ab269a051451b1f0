"""Files that were changed under an old time get a new one; others keep theirs."""

from __future__ import annotations

import os
import time

import pytest

from mmrobust.pipeline.contents import read_from, renew_times

OLD = time.time() - 10_000


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("fresh", "deep/old"):
        (tmp_path / name).write_text("content")
    os.utime(tmp_path / "deep" / "old", (OLD, OLD))
    return tmp_path


def test_a_file_that_was_changed_after_its_time_gets_a_new_one(folder):
    fresh = (folder / "fresh").stat().st_mtime_ns
    assert renew_times([folder], warn=pytest.fail) == [folder / "deep" / "old"]
    assert (folder / "deep" / "old").stat().st_mtime > OLD + 9_000
    assert (folder / "fresh").stat().st_mtime_ns == fresh
    assert renew_times([folder], warn=pytest.fail) == []


def test_of_a_link_it_is_the_time_of_the_link(folder, tmp_path_factory):
    link = tmp_path_factory.mktemp("linked") / "link"
    link.symlink_to(folder / "deep" / "old")
    os.utime(link, (OLD, OLD), follow_symlinks=False)
    assert renew_times([link], warn=pytest.fail) == [link]
    assert link.lstat().st_mtime > OLD + 9_000
    assert (folder / "deep" / "old").stat().st_mtime == pytest.approx(OLD)


def test_a_dangling_link_and_a_missing_place_are_passed_over(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert renew_times([tmp_path, tmp_path / "missing"], warn=pytest.fail) == []


def test_a_time_that_cannot_be_set_is_told(folder, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    warned: list[str] = []
    assert renew_times([folder], warn=warned.append) == []
    assert warned == [
        f"{folder}/deep/old: may have been changed under an old time, and can't get a new one "
        "(Operation not permitted); what is made from it may be stale"
    ]


def test_what_the_jobs_of_a_study_read_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "a.ipynb").touch()
    assert {str(path) for path in read_from("smoke")} == {
        "data/processed/smoke",
        "data/augmented/smoke",
        "results/smoke",
        "config/claims.yaml",
        "notebooks/a.ipynb",
    }
