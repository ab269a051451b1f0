"""A tiny project with a ledger, and Snakemake run in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import dvc.repo  # noqa: F401  (loaded once, for the forks)
import pytest
import yaml
from snakemake.cli import main
from tests.forks import in_fork

SOURCE = Path(__file__).parents[2] / "src"

SNAKEFILE = """
import sys
sys.path.insert(0, {lib!r})
from mmrobust.pipeline.ledger import record_run
from mmrobust.pipeline.touched import begin_touching, settle_touched

onstart:
    settle_touched(config["study"])
    if workflow.touch:
        jobs = workflow.dag.needrun_jobs()
        begin_touching(config["study"], (file for job in jobs for file in job.output))

if not workflow.overwrite_configfiles:
    configfile: "config/a.yaml"

onsuccess:
    record_run(workflow)

rule all:
    input: "out/" + config["study"] + "/sum.txt"

rule part:
    input: "raw.txt"
    output: "parts/{{study}}/{{n}}.txt"
    params: word=config["word"]
    shell: "echo {{params.word}} {{wildcards.n}} > {{output}}; cat {{input}} >> {{output}}"

rule total:
    input: expand("parts/{{{{study}}}}/{{n}}.txt", n=config["parts"])
    output: "out/{{study}}/sum.txt"
    shell: "cat {{input}} > {{output}}"
"""

DVC = """
stages:
  parts:
    foreach: [a, b]
    do:
      cmd: snakemake --cores 1 --configfile config/${item}.yaml
      deps: [raw.txt]
      params: [{"config/${item}.yaml": [word, parts]}]
      outs: [{"parts/${item}": {persist: true}}]
  total:
    foreach: [a, b]
    do:
      cmd: snakemake --cores 1 --configfile config/${item}.yaml
      deps: ["parts/${item}"]
      outs: [{"out/${item}/sum.txt": {persist: true}}]
"""


@pytest.fixture(scope="session")
def recorded(tmp_path_factory, tool) -> Path:
    """A tiny project with two studies, of which `a` was run and recorded."""
    project = tmp_path_factory.mktemp("ledger") / "project"
    (project / "config").mkdir(parents=True)
    (project / ".dvc").mkdir()
    (project / ".dvc" / "config").write_text("[core]\n  no_scm = true\n  analytics = false\n")
    (project / "dvc.yaml").write_text(DVC)
    (project / "Snakefile").write_text(SNAKEFILE.format(lib=str(SOURCE)))
    (project / "raw.txt").write_text("raw\n")
    os.utime(project / "raw.txt", (1e9, 1e9))
    for study in "ab":
        config = {"study": study, "word": "one", "parts": [1, 2]}
        (project / "config" / f"{study}.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(project)
    assert "dvc: recorded in dvc.lock: parts@a, total@a" in done
    assert clean(tool, project, "parts@a", "total@a")
    return project


@pytest.fixture
def project(recorded, tmp_path) -> Path:
    """A copy of the recorded project, with the times of its files."""
    return Path(shutil.copytree(recorded, tmp_path / "project", symlinks=True))


def snakemake(project: Path, *arguments: str, **variables: str) -> str:
    """Run Snakemake in a project."""
    options = ["--cores=1", "--max-checksum-file-size=1GB", *arguments]
    return forked(project, lambda: main(options), **variables)


def forked(project: Path, call: Callable[[], object], **variables: str) -> str:
    """Call something in a fork, which has the modules at hand: a second, not five."""

    def action() -> None:
        os.environ.update(variables)
        call()

    ended = in_fork(action, project)
    assert ended.status == 0, ended.told
    return ended.told


def clean(tool, project: Path, *stages: str) -> bool:
    """Whether DVC finds stages as they were recorded."""
    status = tool("dvc", "status", "-q", *stages, cwd=project, check=False).returncode
    assert status in (0, 1), "DVC failed"
    return status == 0
