"""What every job's shell is told of threads, whatever Snakemake or a user set."""

from __future__ import annotations

import pytest
import yaml
from snakemake.cli import main
from tests.forks import in_fork

pytestmark = pytest.mark.workflow

LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON")
PROBE = """
include: "Snakefile"

rule probe:
    output: "environment.txt"
    threads: THREADS
    shell: "env > {output}"
"""


def test_a_job_computes_with_the_study_s_threads_and_not_with_the_cores_it_got(
    fresh_clone, monkeypatch
):
    """Three of a study, on two cores: results depend on the count, and so it is the study's."""
    for library in LIBRARIES:
        monkeypatch.delenv(f"{library}_NUM_THREADS", raising=False)
    clone = fresh_clone("threads")
    config = clone / "config" / "smoke.yaml"
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "threads": 3}))
    (clone / "probe.smk").write_text(PROBE)
    arguments = ["--snakefile", "probe.smk", "--configfile", "config/smoke.yaml", "--cores", "2"]
    ended = in_fork(lambda: main([*arguments, "--", "environment.txt"]), clone)
    assert ended.status == 0, ended.told
    told = (clone / "environment.txt").read_text().splitlines()
    assert {f"{library}_NUM_THREADS=3" for library in LIBRARIES} <= set(told)
    assert "TOKENIZERS_PARALLELISM=false" in told
