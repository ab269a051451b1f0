"""A full disk stops every verb at every file with one line, and changes nothing that was there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from snakemake.cli import main
from tests.faults.disks import (
    AGAIN,
    FULL,
    NO_SPACE,
    PAGE,
    TOO_LARGE,
    full_at,
    leave_free,
    mount_small_disk,
)
from tests.faults.verbs import Verb, last_of, option, run_verb
from tests.forks import Ended, in_fork
from tests.trees import Files, differing, files

VERBS = {
    "prepare-data": [],
    "augment-data": [],
    "measure-augmentation": [],
    "tabulate-augmentations": [],
    "tabulate-sweeps": [],
    "train-tokenizer": [],
    "train-masked-lm": [],
    "train-model": ["--checkpoint-seconds", "0"],
    "evaluate-model": [],
    "tabulate": [],
    "judge-claims": [],
    "write-report": [],
}
"""Verb -> options that it is given beside the pipeline's, so that all it may write is written."""
BUILT = ("prepare-data", "augment-data", "train-masked-lm")
"""Verbs that fill a folder of their own first and move its files then."""
RESUMED = ("augment-data", "evaluate-model")
"""Verbs whose finished work stays when they are done."""
EARLIER = b"of an earlier run"


def test_every_verb_of_the_pipeline_is_tried(tiny):
    assert {verb[0] for verb in tiny[1]} == set(VERBS)


def named(tiny: tuple[Path, list[Verb]], name: str) -> Verb:
    """That of pictures, that of the model that learns from most."""
    return (*last_of(tiny[1], name), *VERBS[name])


def rewritten(verb: Verb, project: Path) -> list[str]:
    """The files that a verb writes, each of which now holds a few bytes of no format."""

    def inodes() -> dict[str, int]:
        paths = [path for path in project.rglob("*") if path.is_file()]
        return {str(path.relative_to(project)): path.stat().st_ino for path in paths}

    before = inodes()
    ended = run_verb(verb, project)
    assert ended.status == 0, ended.told
    after = inodes()
    written = [name for name in after if before.get(name) != after[name]]
    for name in written:
        (project / name).write_bytes(EARLIER)
    return written


def refused(ended: Ended, before: Files, after: Files) -> str:
    """Check how a verb ended that found no space; the file that it was to write."""
    [file] = [line for line in ended.told.splitlines() if line.startswith(FULL)]
    file = re.sub(r"/\.([^/]+)\.part/", r"/\1/", file.removeprefix(FULL))  # a folder being built
    told = TOO_LARGE if file.endswith(".safetensors") else NO_SPACE
    assert ended.line == f"{file}: {told}"
    assert differing(before, after) == []
    return file


@pytest.mark.parametrize("name", VERBS)
def test_no_file_finds_space_and_nothing_changes(tiny, project, name):
    verb = named(tiny, name)
    written = rewritten(verb, project)
    assert written
    before = files(project)
    tried = set()
    for number in range(1, 100):
        ended = run_verb(verb, project, before=full_at(number))
        if FULL not in ended.told:
            break
        if name == "train-model":  # the state of the first step stays, and is whole
            shutil.rmtree(project / option(verb, "--work"), ignore_errors=True)
        tried.add(refused(ended, before, files(project)))
    assert ended.status == 0, ended.told
    if name not in BUILT:
        assert set(written) <= tried
    assert all((project / file).read_bytes() != EARLIER for file in written)


@pytest.mark.parametrize("name", RESUMED)
def test_work_that_finds_no_space_is_not_half_written(tiny, project, name):
    verb = named(tiny, name)
    shutil.rmtree(project / "work")
    before = files(project, but="work")
    work = set()
    for number in range(1, 4):
        ended = run_verb(verb, project, before=full_at(number))
        work.add(refused(ended, before, files(project, but="work")))
        left = [path for path in (project / "work").rglob("*") if path.is_file()]
        assert left == []
        if name == "augment-data":
            break  # one chunk holds all of its few items
    suffixes = {Path(file).suffix for file in work}
    assert suffixes == ({".npz"} if name == "augment-data" else {".json", ".parquet"})


def test_a_training_that_finds_no_space_goes_on_from_its_last_state(tiny, project):
    verb = named(tiny, "train-model")
    out = project / option(verb, "--out")
    undisturbed = files(out)
    state = project / option(verb, "--work") / "state.pt"
    assert not state.exists()
    ended = run_verb(verb, project, before=full_at(2))
    assert f"{FULL}{state.relative_to(project)}" in ended.told
    assert state.is_file()
    assert differing(undisturbed, files(out)) == []
    went_on = run_verb(verb, project)
    assert went_on.status == 0, went_on.told
    assert differing(undisturbed, files(out)) == ["run.json"]
    assert not state.exists()


def test_figures_that_find_no_space_stay_as_they_were(tmp_path):
    from matplotlib.figure import Figure

    from mmrobust.errors import UserError
    from mmrobust.figures.style import save_figure

    for suffix in ("png", "svg"):
        (tmp_path / f"a.{suffix}").write_bytes(EARLIER)
    before = files(tmp_path)
    for number, suffix in enumerate(("png", "svg"), start=1):

        def draw() -> None:
            full_at(number)()  # noqa: B023  (called at once)
            try:
                save_figure(Figure(), tmp_path / "a")
            except UserError as error:
                print(error)
                raise SystemExit(2) from None

        ended = in_fork(draw, tmp_path)
        assert ended.status == 2, ended.told
        assert ended.told.strip().endswith(f"a.{suffix}: {NO_SPACE}")
        assert differing(before, files(tmp_path)) == []


@pytest.mark.usefixtures("small_disks")
@pytest.mark.parametrize("name", BUILT)
def test_a_disk_that_fills_up_while_a_folder_is_built(tiny, project, tmp_path, name):
    """The rest of the sites: memory maps, Parquet, and what transformers and tokenizers write."""
    verb = named(tiny, name)
    written = rewritten(verb, project)
    whole = {file: (tiny[0] / file).stat().st_size for file in written if "run.json" not in file}
    needed = sum(-(-(tiny[0] / file).stat().st_size // PAGE) for file in written)
    disk = tmp_path / "disk"
    disk.mkdir()

    def fill() -> None:
        mount_small_disk(disk)
        shutil.copytree(project, disk / "project")
        before = files(disk / "project")
        last = needed - 6  # small files are written there, some sites in one page alone
        for free in [*range(0, last, 7), *range(last, needed)]:
            leave_free(disk, free)
            ended = run_verb(verb, disk / "project")
            file, told = ended.line.split(": ", 1)
            assert told == NO_SPACE, (free, needed, ended.line)
            assert option(verb, "--out") in file
            assert differing(before, files(disk / "project")) == [], (free, needed)
        leave_free(disk, needed + 4)
        ended = run_verb(verb, disk / "project")
        assert ended.status == 0, (needed, ended.told)
        assert {file: (disk / "project" / file).stat().st_size for file in whole} == whole

    ended = in_fork(fill, tmp_path)
    assert ended.status == 0, ended.told


@pytest.mark.usefixtures("small_disks")
def test_a_run_on_a_full_disk_does_not_begin(fresh_clone, tmp_path):
    clone, disk = fresh_clone("full"), tmp_path / "disk"
    disk.mkdir()
    arguments = ["--cores", "1", "--configfile", "config/smoke.yaml"]

    def begin() -> None:
        mount_small_disk(disk)
        for name in ("Snakefile", "workflow", "config", "profiles", "notebooks"):
            copy = shutil.copytree if (clone / name).is_dir() else shutil.copy
            copy(clone / name, disk / name)
        (disk / "src").symlink_to(clone / "src")
        leave_free(disk, 4 * 2**20 // PAGE)
        full = in_fork(lambda: main(arguments), disk)
        told = f"{disk}: no space left on its disk (4.0 of at least 8 MB); free some, {AGAIN}"
        assert full.status != 0
        assert "Traceback" not in full.told
        assert told in full.told.splitlines()
        planned = in_fork(lambda: main(["--dry-run", *arguments]), disk)
        assert planned.status == 0, planned.told

    ended = in_fork(begin, tmp_path)
    assert ended.status == 0, ended.told
