"""Ten kinds of broken artifacts: a verb that meets one ends in one line of file and remedy.

Nothing else is written, changed or lost. What DVC's own files break is told in
`tests/pipeline/test_unrecorded.py`, and whose locks there are in `tests/pipeline/test_locks.py`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.faults.disks import AGAIN, mount_small_disk, obey_permissions
from tests.faults.verbs import Verb, last_of, option, run_verb
from tests.forks import in_fork
from tests.trees import differing, files

REMAKE = "delete it and run again"
DATA, RESULTS = "data/processed/tiny", "results/tiny"
MODEL, CELLS = f"{RESULTS}/models/mat_plus/seed0", f"{RESULTS}/cells/standard/seed0"
SET = "data/augmented/tiny/renderings"

Break = Callable[[Path], object]


def named(tiny: tuple[Path, list[Verb]], name: str) -> Verb:
    return last_of(tiny[1], name)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def another_byte(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("moved-away")


def changed(change: Callable[[dict[str, Any]], object]) -> Break:
    """Changes the object of a JSON file."""

    def edit(path: Path) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit


def lacking(name: str) -> Break:
    return changed(lambda manifest: manifest["sha256"].pop(name))


SCHEMA = changed(lambda record: record.update(schema_version=1))
NO_WEIGHTS = r"not a checkpoint of this model \(.*not fully covered\)"
NO_PARQUET = r"not a readable Parquet file \(.*magic bytes not found.*\)"

BROKEN: list[tuple[str, str, str, Break, str]] = [
    # kind, verb, file, what happens to it, what is told of it
    ("truncated checkpoint", "evaluate-model", f"{MODEL}/model.safetensors", half, NO_WEIGHTS),
    (
        *("truncated judge", "measure-augmentation", f"{RESULTS}/judge/model.safetensors"),
        *(half, NO_WEIGHTS),
    ),
    ("truncated tokenizer", "evaluate-model", f"{MODEL}/tokenizer.json", half, r"not a token.*"),
    (
        *("another architecture", "evaluate-model", f"{MODEL}/model.json"),
        *(lambda path: path.write_text('{"architecture": 3}'), r"not of a model \(.*\)"),
    ),
    (
        *("wrong schema version", "tabulate", f"{CELLS}/pgd.json", SCHEMA),
        r"schema_version is 1 \(allowed: 2\)",
    ),
    ("half-written Parquet", "judge-claims", f"{CELLS}/clean.parquet", half, NO_PARQUET),
    ("half-written record", "tabulate", f"{CELLS}/pgd.json", half, r"not valid JSON \(.*\)"),
    (
        *("half-written facts", "write-report", f"{CELLS}/run.json"),
        *(lambda path: path.write_text("3"), r"not the facts of a run \(.*\)"),
    ),
    (
        *("half-written history", "write-report", f"{MODEL}/history.csv"),
        *(lambda path: path.write_bytes(b"step\xff"), r"not a CSV table \(.*\)"),
    ),
    (
        *("half-written captions", "train-tokenizer", f"{DATA}/train/captions.parquet"),
        *(half, r"differs from manifest\.json"),
    ),
    (
        *("half-written set", "measure-augmentation", f"{SET}/items.parquet"),
        *(half, r"differs from manifest\.json"),
    ),
    (
        *("truncated images", "train-model", f"{DATA}/train/images.npy"),
        *(half, r"corrupt \(mmap length is greater than file size\)"),
    ),
    (
        *("missing manifest entry", "train-tokenizer", f"{DATA}/manifest.json"),
        *(lacking("train/captions.parquet"), r"lists no sha256 of train/captions\.parquet"),
    ),
    (
        *("missing manifest entry of the lexicon", "augment-data", f"{DATA}/manifest.json"),
        *(lacking("lexicon.json"), r"lists no sha256 of lexicon\.json"),
    ),
    (
        *("checksum mismatch", "train-model", f"{DATA}/train/positives.npz"),
        *(another_byte, r"differs from manifest\.json"),
    ),
]


@pytest.mark.parametrize(
    ("verb", "file", "breaks", "told"),
    [case[1:] for case in BROKEN],
    ids=[case[0] for case in BROKEN],
)
def test_what_a_job_reads_is_broken(tiny, project, verb, file, breaks, told):
    shutil.rmtree(project / "work")  # or finished cells would be found there
    breaks(project / file)
    before = files(project)
    ended = run_verb(named(tiny, verb), project)
    assert re.fullmatch(rf"{re.escape(file)}: {told}; {REMAKE}", ended.line), ended.line
    assert differing(before, files(project)) == []


def test_half_written_work_is_made_again(tiny, project):
    """The store is work that may be thrown away: what can't be read there is computed anew."""
    verb = named(tiny, "evaluate-model")
    for cell in (project / "work" / "cells").glob("*/cell.parquet"):
        half(cell)
    out = Path(option(verb, "--cells"))
    ended = run_verb(verb, project)
    assert ended.status == 0, ended.told
    assert json.loads((project / out / "run.json").read_text())["cells_computed"]
    assert differing(files(tiny[0] / out), files(project / out)) == ["run.json"]


@pytest.mark.parametrize(
    ("verb", "file", "remedy"),
    [
        ("train-model", f"{DATA}/train/images.npy", "run again and it is made"),
        ("train-model", f"{DATA}/manifest.json", "run again and it is made"),
        (
            *("evaluate-model", f"{MODEL}/model.safetensors"),
            "run again and it is made, or name the folder of a checkpoint",
        ),
    ],
)
def test_a_link_to_nothing_is_told_from_a_missing_file(tiny, project, verb, file, remedy):
    link_to_nothing(project / file)
    before = files(project)
    ended = run_verb(named(tiny, verb), project)
    assert ended.line == f"{file}: a link to moved-away, which is not there; {remedy}"
    assert differing(before, files(project)) == []


def test_an_imported_file_that_was_moved_away(project, tmp_path):
    from mmrobust.data.raw import raw_files

    names = raw_files("lexicon").names
    (tmp_path / "mine").mkdir()
    for name in names:
        (tmp_path / "mine" / name).write_text("in out\n")
    raw = tmp_path / "raw"
    assert run_verb(("import-data", "lexicon", "mine", "--raw", "raw"), tmp_path).status == 0
    (tmp_path / "mine" / names[1]).unlink()
    cfg = json.dumps({"name": "lexicon"})
    before = files(raw)
    ended = run_verb(
        ("download-data", "--cfg", cfg, "--raw", "raw", "--out", "raw/sources.json"), tmp_path
    )
    assert ended.line.startswith(
        f"raw/lexicon/{names[1]}: a link to {tmp_path / 'mine' / names[1]}, which is not there; "
        "import it again"
    )
    assert differing(before, files(raw)) == []


@pytest.mark.parametrize(
    ("verb", "link"),
    [
        ("train-tokenizer", RESULTS),  # results on a disk that is not mounted
        ("augment-data", "data/augmented"),
        ("evaluate-model", "work"),
    ],
)
def test_an_output_folder_is_a_link_to_nothing(tiny, project, verb, link):
    place = project / link
    if verb == "evaluate-model":
        shutil.rmtree(place)
    else:
        place.rename(project / "elsewhere")
    place.symlink_to("not-mounted")
    before = files(project)
    ended = run_verb(named(tiny, verb), project)
    in_the_way = f"{link}: a link to not-mounted, which is not there"
    assert ended.line == f"{in_the_way}; move or mend it, then run again"
    assert differing(before, files(project)) == []


def test_a_file_where_a_folder_belongs(tiny, project):
    shutil.rmtree(project / "work")
    (project / "work").write_text("in the way")
    before = files(project)
    ended = run_verb(named(tiny, "evaluate-model"), project)
    assert ended.line == "work: a file where a folder belongs; move or mend it, then run again"
    assert differing(before, files(project)) == []


# What may not be written: of no concern to root, who may write all


def close(folder: Path) -> None:
    """Let nobody write in a folder and below."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o555)


def open_again(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


@pytest.mark.parametrize(
    ("verb", "closed"),
    [
        ("tabulate", RESULTS),
        ("prepare-data", "data/processed"),
        ("prepare-data", DATA),
        ("augment-data", "data/augmented/tiny"),
        ("train-masked-lm", RESULTS),
        ("train-model", MODEL),
        ("evaluate-model", CELLS.replace("standard", "mat_plus")),
        ("write-report", RESULTS),
    ],
)
def test_a_read_only_output(tiny, project, verb, closed):
    close(project / closed)
    before = files(project)
    ended = run_verb(named(tiny, verb), project, before=obey_permissions)
    place, told = ended.line.split(": ", 1)
    assert told == f"permission denied; let this user use it and its folder (`chmod`), {AGAIN}"
    assert closed in (place, str(Path(place).parent))
    assert differing(before, files(project)) == []
    open_again(project / closed)
    assert run_verb(named(tiny, verb), project, before=obey_permissions).status == 0


@pytest.mark.parametrize("verb", ["augment-data", "train-model", "evaluate-model"])
def test_an_unwritable_work_folder(tiny, project, verb):
    job = (*named(tiny, verb), *(["--checkpoint-seconds", "0"] if verb == "train-model" else []))
    shutil.rmtree(project / "work")
    (project / "work").mkdir()
    close(project / "work")
    before = files(project)
    ended = run_verb(job, project, before=obey_permissions)
    work = str(Path(option(job, "--work")))
    told = r"(work\S*): permission denied; let this user use it and its folder \(`chmod`\)"
    found = re.fullmatch(rf"{told}, {re.escape(AGAIN)}", ended.line)
    assert found, ended.line
    assert found[1] == work or work.startswith(f"{found[1]}/") or found[1].startswith(work)
    assert differing(before, files(project)) == []


def test_an_unreadable_input(tiny, project):
    before = files(project)
    (project / DATA / "manifest.json").chmod(0)
    ended = run_verb(named(tiny, "train-model"), project, before=obey_permissions)
    (project / DATA / "manifest.json").chmod(0o644)
    assert ended.line.startswith(f"{DATA}/manifest.json: permission denied; let this user use it")
    assert differing(before, files(project)) == []


def test_a_run_that_fails_tells_of_the_report_so_far_once_there_is_a_cell(fresh_clone, tool):
    clone = fresh_clone("failing")
    (clone / "src" / "mmrobust" / "data" / "prepare.py").write_text("raise SystemExit(2)\n")
    cell = clone / "results" / "smoke" / "cells" / "mat" / "seed0" / "pgd.parquet"
    advice = "`python -m mmrobust report-so-far --configfile config/smoke.yaml`"
    arguments = ("--cores", "1", "--configfile", "config/smoke.yaml", "--", "data")
    for there in (False, True):
        if there:
            cell.parent.mkdir(parents=True)
            cell.touch()
        failed = tool("snakemake", *arguments, cwd=clone, check=False)
        assert "Error in rule prepare_data" in failed.stdout
        assert (advice in failed.stdout) == there


@pytest.mark.usefixtures("small_disks")
def test_a_read_only_disk(tiny, project, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()

    def read_only() -> None:
        mount_small_disk(disk)
        shutil.copytree(project, disk / "project")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for verb in ("prepare-data", "train-model", "tabulate"):
            ended = run_verb(named(tiny, verb), disk / "project")
            told = f"the disk is read-only; make it writable, {AGAIN}"
            assert re.fullmatch(rf"\S+: {re.escape(told)}", ended.line), ended.line

    ended = in_fork(read_only, tmp_path)
    assert ended.status == 0, ended.told
