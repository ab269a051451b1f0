"""A recorded study in a clone that never ran it, and what a change there makes stale."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.faults.verbs import run_verb

from mmrobust.errors import UserError
from mmrobust.pipeline.graph import planned_workflow
from mmrobust.pipeline.in_step import out_of_step
from mmrobust.pipeline.jobs import PHASES
from mmrobust.pipeline.restore import restore
from mmrobust.pipeline.why import why

pytestmark = pytest.mark.workflow

CONFIG = Path("config/smoke.yaml")
STAGES = [f"{phase}@smoke" for phase in PHASES]
MADE_OF_CELLS = (
    *("tabulate_metrics", "judge_claims"),
    *("draw_figures", "draw_examples", "write_report"),
)
DEFENCES = ("standard", "tecoa", "mat", "mat_plus", "mat_plus_misaligned_0p5")


@pytest.fixture(scope="module")
def pushed(smoke_run, tmp_path_factory, tool, run_git) -> Path:
    """A repository whose smoke study was run, recorded, committed and pushed to a remote."""
    folder = tmp_path_factory.mktemp("pushed")
    clone = Path(shutil.copytree(smoke_run[0], folder / "clone", symlinks=True))
    tool("dvc", "remote", "add", "--default", "store", str(folder / "remote"), cwd=clone)
    run_git(clone, "commit", "--quiet", "--no-verify", "--all", "--message", "Record")
    tool("dvc", "push", *STAGES, cwd=clone)
    return clone


@pytest.fixture(scope="module")
def restored(pushed, tmp_path_factory, run_git) -> Path:
    """A clone of it in which `make restore` was run, as far as it is the project's own verb."""
    clone = tmp_path_factory.mktemp("restored") / "clone"
    run_git(pushed, "clone", "--quiet", str(pushed), str(clone))
    made = ["make", "--dry-run", "restore", "STUDY=smoke"]
    printed = subprocess.run(made, cwd=clone, capture_output=True, text=True, check=True).stdout
    [line] = [line for line in printed.splitlines() if line.startswith("python -m mmrobust ")]
    command = shlex.split(line)
    ended = run_verb(tuple(command[3:]), clone)
    assert ended.status == 0, ended.told
    assert ended.told.splitlines()[-1] == f"smoke is as it was recorded: {', '.join(STAGES)}"
    return clone


@pytest.fixture
def changed(restored, tmp_path, monkeypatch) -> Path:
    """A copy of the restored clone, to change; the test is in it."""
    copy = Path(shutil.copytree(restored, tmp_path / "clone", symlinks=True))
    monkeypatch.chdir(copy)
    return copy


def said(verb: str, *arguments: str, status: int = 0) -> list[str]:
    """What a verb of the command line prints here."""
    ended = run_verb((verb, *arguments), Path())
    assert ended.status == status, ended.told
    return ended.told.splitlines()


def stale() -> Counter[tuple[str, str]]:
    """Rules and defences of the jobs that would run."""
    with planned_workflow(CONFIG) as workflow:
        jobs = [job for job in workflow.dag.needrun_jobs() if job.output]
        return Counter((job.rule.name, job.wildcards_dict.get("defence", "")) for job in jobs)


def add_to(module: Path) -> None:
    module.write_text(f"{module.read_text()}\nADDED = 1\n")


def edit(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))


def test_after_it_a_run_does_nothing(restored, tool, run_git):
    done = tool("snakemake", "--cores", "1", "--configfile", str(CONFIG), cwd=restored)
    assert "Nothing to be done" in done.stdout
    assert tool("dvc", "status", *STAGES, cwd=restored).stdout.endswith("up to date.\n")
    assert run_git(restored, "status", "--porcelain") == ""


def test_it_is_what_was_pushed(pushed, restored):
    for folder in ("data/processed/smoke", "results/smoke"):
        files = {
            path.relative_to(pushed)
            for path in (pushed / folder).rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }
        assert files
        for path in files:
            assert (restored / path).read_bytes() == (pushed / path).read_bytes(), path


def test_a_changed_parameter_reruns_what_is_told_it(changed):
    config = yaml.safe_load(CONFIG.read_text())
    config["attacks"]["square"]["queries"] += 1
    CONFIG.write_text(yaml.safe_dump(config, sort_keys=False))
    assert stale() == Counter(
        [("evaluate_model", name) for name in DEFENCES] + [(rule, "") for rule in MADE_OF_CELLS]
    )
    told = said("why", "all", "--configfile", str(CONFIG))
    assert "  parameter attacks.square.queries: 10 -> 11" in told
    assert why(CONFIG, "results/smoke/models/mat/seed0/model.safetensors") == [
        "results/smoke/models/mat/seed0/model.safetensors is up to date"
    ]


def test_a_changed_module_reruns_what_imports_or_selects_it(changed):
    add_to(Path("src/mmrobust/training/mat.py"))
    mat = ("mat", "mat_plus", "mat_plus_misaligned_0p5")
    assert stale() == Counter(
        [(rule, name) for name in mat for rule in ("train_model", "evaluate_model")]
        + [(rule, "") for rule in MADE_OF_CELLS]
    )
    told = why(CONFIG, "all")
    assert "  code of the verb: mmrobust.training.mat was edited" in told


def test_data_changed_under_an_old_time_rerun_what_reads_them(changed):
    """Of the same size too: Snakemake alone would see nothing of it."""
    path = Path("data/processed/smoke/lexicon.json")
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(content.replace(b" ", b"\n", 1))
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - 10**13))
    assert stale() == Counter(
        [(rule, name) for name in DEFENCES for rule in ("train_model", "evaluate_model")]
        + [("augment_data", "")] * 3
        + [("measure_augmentation", "")] * 3
        + [(rule, "") for rule in ("train_judge", "tabulate_augmentations", *MADE_OF_CELLS)]
    )
    told = why(CONFIG, "all")
    assert "  changed: data/processed/smoke/lexicon.json" in told


def test_a_new_defence_runs_alone(changed):
    config = yaml.safe_load(CONFIG.read_text())
    config["defences"]["again"] = config["defences"]["tecoa"]
    CONFIG.write_text(yaml.safe_dump(config, sort_keys=False))
    assert stale() == Counter(
        [("train_model", "again"), ("evaluate_model", "again")]
        + [(rule, "") for rule in MADE_OF_CELLS]
    )


WITHOUT_EFFECT: dict[str, Callable[[], object]] = {
    "comment": lambda: edit("src/mmrobust/training/mat.py", "\n\n\n", "\n\n\n# A comment.\n"),
    "docstring": lambda: edit("src/mmrobust/training/mat.py", '"""', '"""Said otherwise: '),
    "comment in a rule": lambda: edit(
        "workflow/rules/models.smk", "rule train_model", "# Said.\nrule train_model"
    ),
    "touched files": lambda: [os.utime(path) for path in Path().rglob("*") if path.is_file()],
    "unused module": lambda: Path("src/mmrobust/attacks/of_nobody.py").write_text("ADDED = 1\n"),
}


def test_what_changes_no_result_reruns_nothing(changed):
    """One after the other in one copy of the clone: each leaves nothing stale for the next."""
    for name, change in WITHOUT_EFFECT.items():
        change()
        assert stale() == Counter(), name
        assert why(CONFIG, "all") == ["all is up to date"], name


def test_what_is_restored_is_recorded_in_the_same_words(changed):
    lock = Path("dvc.lock").read_bytes()
    told = said("record", "--configfile", str(CONFIG))
    assert told == [f"recorded in dvc.lock: {', '.join(STAGES)}"]
    assert Path("dvc.lock").read_bytes() == lock


def test_what_can_not_be_recorded_fails_the_verb(changed):
    leftover = Path("results/smoke/models/of_nobody.txt")
    leftover.write_text("of an older study\n")
    told = said("record", "--configfile", str(CONFIG), status=1)
    assert told[0].startswith(f"not recorded: models@smoke: no job of this run makes {leftover}; ")
    assert told[-1].startswith("recorded in dvc.lock: data@smoke")
    leftover.unlink()


def test_what_is_not_in_step_is_not_restored(changed):
    shutil.rmtree(".snakemake/metadata")
    add_to(Path("src/mmrobust/training/mat.py"))
    told = r"smoke can't be restored, for dvc\.lock is not in step .*jobs/smoke\.json: models"
    with pytest.raises(UserError, match=told):
        restore(CONFIG)
    assert list(Path(".snakemake/metadata").iterdir()) == []


def test_other_bytes_than_those_on_record_are_not_restored(changed, run_git):
    path = Path("results/smoke/tokenizer.json")
    path.write_text("{}")
    shutil.rmtree(".dvc/cache")
    run_git(changed, "remote", "remove", "origin")
    Path(".dvc/config").write_text("[core]\n    analytics = false\n")
    with pytest.raises(UserError, match="there is no DVC remote to fetch it from"):
        restore(CONFIG)
    empty = changed / "empty"
    empty.mkdir()
    Path(".dvc/config").write_text(
        f"[core]\n    remote = store\n['remote \"store\"']\n    url = {empty}\n"
    )
    with pytest.raises(UserError, match="smoke: can't be fetched"):
        restore(CONFIG)
    assert path.read_text() == "{}"


def test_the_ledger_is_told_out_of_step_without_data(changed):
    assert said("check-ledger", "smoke") == ["dvc.lock is in step with configuration and code"]
    shutil.rmtree("data")
    for path in Path("results/smoke").iterdir():
        if path.suffix != ".csv" and path.name != "metrics.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert out_of_step(["smoke"]) == []
    config = yaml.safe_load(CONFIG.read_text())
    config["defences"]["mat"]["words"] = 2
    CONFIG.write_text(yaml.safe_dump(config, sort_keys=False))
    digests = Path("workflow/jobs/smoke.json")
    assert said("check-ledger", "smoke", status=1) == [
        f"{digests}: models: train_model changed; run "
        "`python -m mmrobust write-jobs --configfile config/smoke.yaml`",
        f"{digests}: report: write_report changed; run "
        "`python -m mmrobust write-jobs --configfile config/smoke.yaml`",
        "models@smoke: config/smoke.yaml: defences: recorded otherwise",
    ]


OUT_OF_STEP: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (
        lambda lock: lock["stages"].pop("models@smoke"),
        "models@smoke: has no entry in dvc.lock; run `snakemake --configfile config/smoke.yaml`",
    ),
    (
        lambda lock: lock["stages"]["data@smoke"]["outs"][0].update(md5=f"{0:032}.dir"),
        "models@smoke: was made from another data/processed/smoke than data@smoke recorded",
    ),
    (
        lambda lock: lock["stages"]["data@smoke"].update(cmd="snakemake -- data"),
        "data@smoke: its command is not the recorded one",
    ),
    (
        lambda lock: lock["stages"]["report@smoke"]["outs"].pop(0),
        "report@smoke: results/smoke/claims.csv is not recorded",
    ),
]
"""What happens to `dvc.lock`, and what is told of it."""


def test_an_entry_that_is_missing_or_does_not_fit_is_told(changed):
    good = Path("dvc.lock").read_text()
    for change, told in OUT_OF_STEP:
        lock = yaml.safe_load(good)
        change(lock)
        Path("dvc.lock").write_text(yaml.safe_dump(lock))
        assert told in out_of_step(["smoke"])


def test_an_edited_table_or_notebook_is_told(changed):
    Path("results/smoke/metrics.csv").write_text("edited\n")
    assert out_of_step(["smoke"]) == [
        "evaluation@smoke: results/smoke/metrics.csv is not as it was recorded"
    ]
    cells = json.loads(Path("notebooks/examples.ipynb").read_text())
    cells["cells"].append({"cell_type": "markdown", "id": "9", "metadata": {}, "source": ["x"]})
    Path("notebooks/examples.ipynb").write_text(json.dumps(cells))
    assert "report@smoke: notebooks was edited since it was recorded" in out_of_step(["smoke"])


def test_code_of_another_time_is_seen_by_dvc(changed, tool, run_git):
    """Also under an old time: Snakemake gets the fingerprint, and DVC the digest of the jobs."""
    module = Path("src/mmrobust/data/scenes/render.py")
    before = module.stat()
    add_to(module)
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = tool("dvc", "repro", "data@smoke", cwd=changed, PYTHONPATH=str(changed / "src"))
    assert "Running stage 'jobs@smoke'" in done.stdout
    assert "Running stage 'data@smoke'" in done.stdout
    assert "rule prepare_data" in done.stdout
    assert tool("dvc", "status", "data@smoke", cwd=changed).stdout.endswith("up to date.\n")
    assert run_git(changed, "diff", "--name-only").split() == [
        "dvc.lock",
        str(module),
        "workflow/jobs/smoke.json",
    ]
