"""A job refuses to work with other code than its fingerprint says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmrobust.errors import UserError
from mmrobust.pipeline.code_notes import check_code, keep_notes
from mmrobust.pipeline.fingerprint import parts

ROOTS = ["mmrobust.report.page"]


@pytest.fixture
def source(tmp_path) -> Path:
    """A package of two modules, of which one names a file beside it, noted as it is."""
    folder = tmp_path / "src" / "mmrobust" / "report"
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):
        (package / "__init__.py").touch()
    (folder / "page.py").write_text("from mmrobust.report import words\nNAME = 'page.html'\n")
    (folder / "words.py").write_text("WORDS = 1\n")
    (folder / "other.py").write_text("OTHER = 1\n")
    (folder / "page.html").write_text("<p>")
    covered = parts(ROOTS, source=tmp_path / "src")
    assert "mmrobust/report/page.html" in covered
    keep_notes({"0123456789abcdef": covered}, tmp_path / "notes", as_of=time.time())
    time.sleep(0.02)  # the grain of a file's times
    return tmp_path / "src"


def checked(source: Path) -> None:
    check_code(["0123456789abcdef"], source=source, folder=source.parent / "notes")


def test_code_as_it_was_is_taken(source):
    checked(source)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("words.py", "# a comment\nWORDS = 1\n"),
        ("other.py", "OTHER = 2\n"),
        ("page.html", "<p>"),
    ],
)
def test_an_edit_that_changes_nothing_of_a_job_is_taken(source, name, content):
    (source / "mmrobust" / "report" / name).write_text(content)
    checked(source)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("words.py", "WORDS = 2\n", "mmrobust.report.words"),
        ("page.html", "<b>", "mmrobust/report/page.html"),
    ],
)
def test_an_edit_since_the_run_began_is_refused_whatever_its_time(source, name, content, told):
    path = source / "mmrobust" / "report" / name
    path.write_text(content)
    os.utime(path, (1e9, 1e9))
    with pytest.raises(UserError) as refused:
        checked(source)
    assert str(refused.value) == f"{told} was edited after the run had begun; run again"


def test_an_edit_between_reading_and_noting_is_refused(source):
    began = time.time() - 1
    covered = parts(ROOTS, source=source)
    (source / "mmrobust" / "report" / "words.py").write_text("WORDS = 2\n")
    time.sleep(0.02)
    notes = source.parent / "later"
    keep_notes({"0123456789abcdef": covered}, notes, as_of=began)
    with pytest.raises(UserError, match=r"mmrobust\.report\.words was edited"):
        check_code(["0123456789abcdef"], source=source, folder=notes)


def test_a_fingerprint_that_no_run_noted_is_refused_where_others_are(source):
    """A scheduler's job takes it of the code that is there when it starts."""
    with pytest.raises(UserError, match=r"^code was edited after .* \(fedcba9876543210 is new\)"):
        check_code(["fedcba9876543210"], source=source, folder=source.parent / "notes")
    check_code(["fedcba9876543210"], source=source, folder=source.parent / "nowhere")


@pytest.mark.parametrize("name", ["words.py", "page.html"])
def test_what_is_gone_is_refused(source, name):
    (source / "mmrobust" / "report" / name).unlink()
    with pytest.raises(UserError, match="was edited after the run had begun"):
        checked(source)


def refused(folder: Path, *verb: str, code: str = "") -> str:
    """What a verb says where `0123456789abcdef` stands for other code than there is."""
    note = folder / "work" / "code" / "0123456789abcdef.json"
    keep_notes({note.stem: {"mmrobust.errors": "other"}}, note.parent)
    command = [sys.executable, "-m", "mmrobust", *verb]
    variables = {**os.environ, "MMROBUST_CODE": code}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    return done.stderr


TOLD = "mmrobust: error: mmrobust.errors was edited after the run had begun; run again\n"


def test_a_verb_asks_before_it_does_anything(tmp_path):
    verb = ["tabulate-sweeps", "--cfg", "{}", "--out", "out.csv"]
    assert refused(tmp_path, *verb, code="0123456789abcdef") == TOLD


def test_an_evaluation_asks_for_the_code_of_its_cells(tmp_path):
    cfg = '{"code": {"clean": "0123456789abcdef"}}'
    folders = ["--data", "d", "--model", "m", "--cells", "c", "--work", "w"]
    assert refused(tmp_path, "evaluate-cell", "clean", "--cfg", cfg, *folders) == TOLD
    folders += ["--examples", "e"]
    assert refused(tmp_path, "evaluate-model", "--cfg", cfg, *folders) == TOLD
