"""What a run may record in `dvc.lock`, and each way to record a lie that is refused."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from dvc.repo import Repo
from snakemake.cli import main
from snakemake.settings.enums import RerunTrigger
from tests.forks import in_fork
from tests.pipeline.conftest import clean, forked, snakemake

from mmrobust.errors import UserError
from mmrobust.pipeline.ledger import record, run_refusal
from mmrobust.pipeline.proof import jobs_of, named_config


def recorded_now(project: Path, config: str = "config/a.yaml") -> str:
    """Record what is there of a project, as `mmrobust record` does."""
    return forked(project, lambda: print(*record(Path(config)), sep="\n"))


def lock(project: Path) -> dict[str, Any]:
    return yaml.safe_load((project / "dvc.lock").read_text())["stages"]


def edit_keeping_time(path: Path, text: str) -> None:
    times = (path.stat().st_atime, path.stat().st_mtime)
    path.write_text(text)
    os.utime(path, times)


def test_changed_configuration_is_recorded(project):
    config = project / "config" / "a.yaml"
    config.write_text(config.read_text().replace("one", "two"))
    assert "recorded in dvc.lock: parts@a, total@a" in snakemake(project)
    assert lock(project)["parts@a"]["params"]["config/a.yaml"]["word"] == "two"


def test_another_study_is_recorded_under_its_own_stages(project):
    done = snakemake(project, "--configfile", "config/b.yaml")
    assert "recorded in dvc.lock: parts@b, total@b" in done
    assert "@a" not in done


def test_one_phase_records_its_stage_only(project):
    (project / "parts" / "b").mkdir(parents=True)
    targets = ["parts/b/1.txt", "parts/b/2.txt"]
    done = snakemake(project, "--configfile", "config/b.yaml", "--", *targets)
    assert "recorded in dvc.lock: parts@b\n" in done


def test_data_edited_under_an_old_time_are_not_recorded_beside_old_outputs(project):
    before = lock(project)
    edit_keeping_time(project / "raw.txt", "edited\n")
    (project / "out" / "a" / "sum.txt").unlink()
    done = snakemake(project)
    assert "not recorded: parts@a: parts/a/1.txt was made from another raw.txt" in done
    assert lock(project)["parts@a"] == before["parts@a"]


def test_an_output_edited_by_hand_is_not_recorded(project):
    before = lock(project)
    (project / "parts" / "a" / "2.txt").write_text("by hand\n")
    done = snakemake(project)
    assert "not recorded: parts@a: parts/a/2.txt was changed after its job had made it" in done
    assert lock(project)["parts@a"] == before["parts@a"]


def test_files_without_a_record_of_their_making_are_not_recorded(project):
    shutil.rmtree(project / ".snakemake" / "metadata")
    (project / "out" / "a" / "sum.txt").unlink()
    done = snakemake(project)
    assert "not recorded: parts@a: there is no record of how parts/a/1.txt was made" in done
    assert "recorded in dvc.lock: total@a" in done


def test_a_leftover_in_an_output_folder_is_not_recorded(project):
    (project / "parts" / "a" / "3.txt").write_text("of an older study\n")
    (project / "out" / "a" / "sum.txt").unlink()
    done = snakemake(project)
    assert "not recorded: parts@a: no job of this run makes parts/a/3.txt" in done
    assert "recorded in dvc.lock: total@a" in done


def test_a_part_of_a_folder_does_not_stand_for_the_whole(project):
    (project / "parts" / "a" / "1.txt").unlink()
    done = snakemake(project, "--", "parts/a/1.txt")
    assert "not recorded: parts@a: no job of this run makes parts/a/2.txt" in done


def test_a_copy_of_the_configuration_is_not_the_committed_one(project):
    shutil.copy(project / "config" / "a.yaml", project / "config" / "mine.yaml")
    (project / "out" / "a" / "sum.txt").unlink()
    done = snakemake(project, "--configfile", "config/mine.yaml")
    reason = "its configuration is config/a.yaml, the run's was config/mine.yaml"
    assert f"not recorded: total@a: {reason}" in done
    assert "recorded in" not in done


def test_what_a_refused_run_left_is_recorded_by_the_next(project, tool):
    config = project / "config" / "a.yaml"
    config.write_text(config.read_text().replace("one", "two"))
    assert "nothing recorded: the graph was cut" in snakemake(project, "--until", "part")
    assert "recorded in dvc.lock: parts@a, total@a" in snakemake(project)
    assert clean(tool, project, "parts@a", "total@a")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--touch", "--forceall"], "--touch"),
        (["--config", "word=three"], "--config overrode"),
        (["--forceall", "--rerun-triggers", "mtime"], "--rerun-triggers"),
        (["--forceall", "--omit-from", "total"], "the graph was cut"),
        (["--forceall", "--allowed-rules", "all", "total"], "the graph was cut"),
    ],
)
def test_a_run_that_is_not_the_committed_one_records_nothing(project, arguments, reason):
    before = (project / "dvc.lock").read_bytes()
    assert f"dvc: nothing recorded: {reason}" in snakemake(project, *arguments)
    assert (project / "dvc.lock").read_bytes() == before


def test_what_was_touched_is_not_recorded_by_a_later_run(project):
    """After --touch Snakemake's own records say that the files come from what is there now."""
    before = lock(project)
    (project / "raw.txt").write_text("edited\n")
    (project / "parts" / "a" / "1.txt").write_text("by hand\n")
    snakemake(project, "--touch", "--forceall")
    (project / "out" / "a" / "sum.txt").unlink()
    done = snakemake(project)
    told = "not recorded: parts@a: parts/a/1.txt was touched and not made; delete it and run again"
    assert told in done
    assert told in recorded_now(project)
    assert lock(project)["parts@a"] == before["parts@a"]
    for path in [*(project / "parts" / "a").iterdir(), project / "out" / "a" / "sum.txt"]:
        path.unlink()
    assert "recorded in dvc.lock: parts@a, total@a" in snakemake(project)


def test_old_outputs_touched_beside_new_inputs_are_not_recorded(project):
    before = lock(project)
    (project / "raw.txt").write_text("edited\n")
    snakemake(project, "--touch", "--forceall")
    (project / "out" / "a" / "sum.txt").unlink()
    done = snakemake(project)
    assert "not recorded: parts@a: parts/a/1.txt was touched and not made" in done
    assert lock(project)["parts@a"] == before["parts@a"]


def test_a_touching_run_that_was_killed_is_known_by_what_it_touched(project):
    snakefile = project / "Snakefile"
    text = snakefile.read_text()
    snakefile.write_text(text.replace("record_run(workflow)", "__import__('os')._exit(9)"))
    (project / "parts" / "a" / "1.txt").write_text("by hand\n")
    options = ["--cores=1", "--max-checksum-file-size=1GB", "--touch", "--forceall"]
    assert in_fork(lambda: main(options), project).status == 9
    shutil.rmtree(project / ".snakemake" / "locks")
    snakefile.write_text(text)
    told = "not recorded: parts@a: parts/a/1.txt was touched and not made; delete it and run again"
    assert told in recorded_now(project)
    (project / "out" / "a" / "sum.txt").unlink()
    assert told in snakemake(project), "the next run knows it too"
    assert told in recorded_now(project), "and so does what comes after"


def test_an_older_entry_does_not_vouch_for_outputs_of_other_parameters(project):
    outputs = [*(project / "parts" / "a").iterdir(), project / "out" / "a" / "sum.txt"]
    older = {path: path.read_bytes() for path in [project / "dvc.lock", *outputs]}
    config = project / "config" / "a.yaml"
    config.write_text(config.read_text().replace("one", "two"))
    assert "recorded in dvc.lock: parts@a, total@a" in snakemake(project)
    for path, content in older.items():
        path.write_bytes(content)
    told = recorded_now(project)
    assert "not recorded: parts@a: parts/a/1.txt was changed after its job had made it" in told
    assert lock(project)["parts@a"]["params"]["config/a.yaml"]["word"] == "one"


@pytest.mark.parametrize("later", [os.utime, lambda path: path.chmod(0o600)], ids=["time", "mode"])
def test_who_read_an_edited_output_does_not_vouch_for_it(project, later):
    edited = project / "parts" / "a" / "2.txt"
    edited.write_text("by hand\n")
    told = "not recorded: parts@a: parts/a/2.txt was changed after its job had made it"
    assert told in snakemake(project), "what is made from it was made anew"
    later(edited)
    assert told in recorded_now(project)


@pytest.mark.parametrize(
    ("rule", "file", "made"),
    [("part", "raw.txt", r"parts/a/[12]\.txt"), ("total", "parts/a/1.txt", r"out/a/sum\.txt")],
)
def test_an_input_that_another_file_takes_the_place_of_is_noticed(project, rule, file, made):
    """Under an old time, while a job reads it: checksums are taken when the job has ended."""
    (project / "other.txt").write_text("other\n")
    os.utime(project / "other.txt", (1e9, 1e9))
    path = project / "Snakefile"
    head, found, tail = path.read_text().partition(f"rule {rule}:")
    exchanged = f'{{output}}; mv other.txt {file} || true; sleep 0.1; touch {{output}}"\n'
    path.write_text(head + found + tail.replace('{output}"\n', exchanged, 1))
    before = lock(project)
    done = snakemake(project)
    stage = "parts@a" if rule == "part" else "total@a"
    told = f"not recorded: {stage}: {file} was changed while {made} was made from it"
    assert re.search(told, done), "jobs that don't wait for each other run in any order"
    assert lock(project)[stage] == before[stage]


def test_a_stage_that_cannot_be_recorded_loses_no_other(project):
    config = project / "config" / "a.yaml"
    config.write_text(config.read_text().replace("one", "two"))
    before = lock(project)
    commit = Repo.commit

    def failing(repo: Repo, target: str, **options: Any) -> Any:
        if target == "total@a":
            (project / "dvc.lock").write_text("")
            raise OSError(errno.ENOSPC, "No space left on device", "dvc.lock")
        return commit(repo, target, **options)

    def run() -> None:
        Repo.commit = failing
        main(["--cores=1", "--max-checksum-file-size=1GB"])

    told = forked(project, run)
    assert "dvc: recorded in dvc.lock: parts@a\ndvc: not recorded: dvc.lock: no space" in told
    assert lock(project)["parts@a"]["params"]["config/a.yaml"]["word"] == "two"
    assert lock(project)["total@a"] == before["total@a"]


def changed_snakefile(project: Path, rule: str, command: str) -> None:
    path = project / "Snakefile"
    head, found, tail = path.read_text().partition(f"rule {rule}:")
    assert found
    path.write_text(head + found + tail.replace('shell: "', f'shell: "{command}; ', 1))


def test_a_configuration_that_is_edited_during_the_run_is_not_recorded(project):
    before = lock(project)
    changed_snakefile(project, "part", "sed -i s/one/two/ config/a.yaml")
    done = snakemake(project)
    told = "config/a.yaml was changed after the run had read it"
    assert f"not recorded: parts@a: {told}" in done
    assert f"not recorded: total@a: {told}" in done
    assert lock(project) == before


def test_an_input_that_is_edited_while_it_is_read_is_not_recorded(project):
    before = lock(project)
    changed_snakefile(project, "part", "sleep 0.1; echo more >> raw.txt")
    done = snakemake(project)
    reasons = [
        "parts/a/1.txt was made from another raw.txt",
        "parts/a/2.txt was made from another raw.txt",
        "raw.txt was changed while parts/a/1.txt was made from it",
        "raw.txt was changed while parts/a/2.txt was made from it",
    ]
    assert any(f"not recorded: parts@a: {reason}" in done for reason in reasons)
    assert lock(project)["parts@a"] == before["parts@a"]


def test_code_that_is_edited_during_the_run_is_not_recorded(project):
    before = lock(project)
    path = project / "Snakefile"
    code = '{"mmrobust.errors": "0", "mmrobust/a.txt": "0", "numpy": "0"}'
    text = path.read_text()
    path.write_text(text.replace("record_run(workflow)", f"record_run(workflow, code=[{code}])"))
    done = snakemake(project, "--forceall")
    assert "nothing recorded: mmrobust.errors was edited after the run had begun" in done
    assert lock(project) == before


def test_a_finished_run_can_be_recorded_afterwards(project, tool):
    config = project / "config" / "a.yaml"
    config.write_text(config.read_text().replace("one", "two"))
    assert "not recorded: parts@a: parts/a/1.txt would be made again" in recorded_now(project)
    (project / ".dvc" / "tmp").mkdir(exist_ok=True)
    snakemake(project, DVC_STAGE="parts@a")
    assert not clean(tool, project, "parts@a")
    assert "recorded in dvc.lock: parts@a, total@a" in recorded_now(project)
    assert clean(tool, project, "parts@a", "total@a")


def test_where_there_is_no_ledger_nothing_can_be_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"dvc\.yaml or \.dvc is missing"):
        list(record(Path("config/a.yaml")))


def test_dvc_repro_records_by_itself(project):
    config = project / "config" / "a.yaml"
    config.write_text(config.read_text().replace("one", "two"))
    (project / ".dvc" / "tmp").mkdir(exist_ok=True)
    assert "dvc:" not in snakemake(project, DVC_STAGE="parts@a")


def test_a_project_without_dvc_runs_silently(project):
    shutil.rmtree(project / ".dvc")
    assert "dvc:" not in snakemake(project, "--forceall")


def test_a_broken_ledger_does_not_fail_the_run(project):
    (project / "dvc.yaml").write_text("stages: [")
    told = snakemake(project, "--forceall")
    assert "dvc: not recorded: YAMLSyntaxError: unable to read: 'dvc.yaml', YAML file" in told


def plain_run(**changes: Any) -> SimpleNamespace:
    """Stand in for Snakemake's workflow: a run with nothing special about it, then changed."""
    run = SimpleNamespace(
        touch=False,
        dag_settings=SimpleNamespace(
            targets=frozenset({"all"}),
            until=frozenset(),
            omit_from=frozenset(),
            allowed_rules=frozenset(),
            batch=None,
            rerun_triggers=RerunTrigger.all(),
        ),
        execution_settings=SimpleNamespace(ignore_incomplete=False),
        config_settings=SimpleNamespace(config={}),
        storage_settings=SimpleNamespace(default_storage_provider=None),
    )
    for name, value in changes.items():
        *path, last = name.split("__")
        target = run
        for part in path:
            target = getattr(target, part)
        setattr(target, last, value)
    return run


def test_a_plain_run_is_not_refused():
    assert run_refusal(plain_run(), ["some"]) is None


def test_a_named_part_of_a_study_is_no_stage():
    """Folders that hold this part alone would stand for the whole."""
    run = plain_run(dag_settings__targets=frozenset({"data", "some"}))
    told = "only a part of the study was asked for (some)"
    assert run_refusal(run, ["others", "some"]) == told
    assert run_refusal(run) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"touch": True}, "--touch makes"),
        ({"dag_settings__until": frozenset({"part"})}, "the graph was cut"),
        ({"dag_settings__omit_from": frozenset({"part"})}, "the graph was cut"),
        ({"dag_settings__allowed_rules": frozenset({"part"})}, "the graph was cut"),
        ({"dag_settings__batch": object()}, "the graph was cut"),
        ({"dag_settings__rerun_triggers": frozenset({RerunTrigger.MTIME})}, "--rerun-triggers"),
        ({"execution_settings__ignore_incomplete": True}, "--ignore-incomplete takes"),
        ({"config_settings__config": {"word": "three"}}, "--config overrode"),
        ({"storage_settings__default_storage_provider": "s3"}, "--default-storage-provider"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_guard_refuses(change, reason):
    told = run_refusal(plain_run(**change))
    assert told is not None
    assert told.startswith(reason)


def test_jobs_of_a_folder_are_those_that_write_below_it(tmp_path):
    inside = SimpleNamespace(output=[str(tmp_path / "parts" / "a" / "1.txt")])
    outside = SimpleNamespace(output=[str(tmp_path / "parts" / "b" / "1.txt")])
    assert jobs_of([tmp_path / "parts" / "a"], [inside, outside]) == [inside]


def test_the_configuration_that_a_command_names():
    assert named_config("snakemake --cores all --configfile config/a.yaml -- all") == (
        "config/a.yaml"
    )
    assert named_config("snakemake --cores all") is None
