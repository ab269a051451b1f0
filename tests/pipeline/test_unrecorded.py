"""A ledger that can't be written: one line, the run's success, and the old `dvc.lock`."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zc.lockfile
from tests.pipeline.conftest import clean, snakemake

from mmrobust.disk import AGAIN
from mmrobust.errors import UserError
from mmrobust.pipeline.unrecorded import kept_unless_written, why_unrecorded

REMEDY = "then run `python -m mmrobust record --configfile config/a.yaml`: what is finished is kept"
MEND = f"`git checkout dvc.lock`, {REMEDY}"


def run(project: Path) -> list[str]:
    """Make the last file again; what was said of the ledger."""
    (project / "out" / "a" / "sum.txt").unlink()
    lines = snakemake(project).splitlines()
    return [line.removeprefix("dvc: ") for line in lines if line.startswith("dvc: ")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"stages: [\n<<<<<<< HEAD\n",
            "unable to read: 'dvc.lock', YAML file structure is corrupted",
        ),
        (b"schema: '2.0'\nstages: 3\n", "'./dvc.lock' validation failed"),
        (b"\xff\xfe", "unable to read: 'dvc.lock', is not valid utf-8"),
    ],
    ids=["half of a merge", "no stages", "no text"],
)
def test_a_corrupt_lock_file_is_named_with_its_remedy(project, content, reason):
    (project / "dvc.lock").write_bytes(content)
    assert run(project) == [f"not recorded: dvc.lock: broken ({reason}); {MEND}"]
    assert (project / "dvc.lock").read_bytes() == content


def test_what_was_not_recorded_is_by_the_remedy(project, tool):
    whole = (project / "dvc.lock").read_bytes()
    (project / "dvc.lock").write_bytes(b"<<<<<<< HEAD\n" + whole)
    config = project / "config" / "a.yaml"
    config.write_text(config.read_text().replace("one", "two"))
    assert run(project)[0].startswith("not recorded: dvc.lock: broken (")
    (project / "dvc.lock").write_bytes(whole)
    assert run(project) == ["recorded in dvc.lock: parts@a, total@a"]
    assert clean(tool, project, "parts@a", "total@a")


def test_a_lock_of_another_process_is_named_with_its_remedy(project):
    (project / ".dvc" / "tmp").mkdir(exist_ok=True)
    held = zc.lockfile.LockFile(str(project / ".dvc" / "tmp" / "lock"))
    told = f"not recorded: .dvc/tmp/{{}}: another DVC process holds it; wait for it, {REMEDY}"
    assert run(project) == [told.format("lock")]
    held.close()
    paths = {str(project / "out" / "a" / "sum.txt"): {"pid": os.getpid(), "cmd": "dvc repro"}}
    rwlock = project / ".dvc" / "tmp" / "rwlock"
    rwlock.write_text(json.dumps({"read": {}, "write": paths}))
    assert run(project) == ["recorded in dvc.lock: parts@a", told.format("rwlock")]
    rwlock.write_text("{")
    broken = f"not recorded: .dvc/tmp/rwlock: broken; delete it, {REMEDY}"
    assert run(project) == [broken]
    rwlock.unlink()
    assert run(project)[0].startswith("recorded in dvc.lock: ")


def test_a_lock_file_that_is_half_written_is_put_back(tmp_path):
    """DVC opens it for writing, which empties it, and then finds no space."""

    def record(path: Path) -> None:
        with kept_unless_written(path):
            path.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    path = tmp_path / "dvc.lock"
    for before in (None, "whole"):
        if before:
            path.write_text(before)
        with pytest.raises(OSError, match="No space") as error:
            record(path)
        assert why_unrecorded(error.value) == f"{path}: no space left on the disk; free some"
        assert [file.read_text() for file in tmp_path.iterdir()] == ([before] if before else [])
    with kept_unless_written(path):
        path.write_text("new")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["new"]


def test_without_space_for_a_copy_nothing_is_begun(tmp_path, monkeypatch):
    path = tmp_path / "dvc.lock"
    path.write_text("whole")
    begun: list[Callable[..., object]] = []

    def copy(_: Path, target: Path) -> None:
        target.write_text("ha")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("shutil.copy2", copy)
    with pytest.raises(UserError) as error, kept_unless_written(path):
        begun.append(print)
    assert str(error.value) == f"{path}: no space left on the disk; free some, {AGAIN}"
    assert begun == []
    assert [file.read_text() for file in tmp_path.iterdir()] == ["whole"]
