"""What Slurm grants and enforces of what the rules ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

SNAKEFILE = ("--snakefile", "tests/cluster/jobs.smk")


@pytest.fixture(scope="module")
def clone(fresh_clone) -> Path:
    return fresh_clone("jobs")


def test_a_job_over_its_memory_is_killed_and_succeeds_with_more(clone, submit):
    done = submit(clone, *SNAKEFILE, "--", "jobs/hog")
    assert done.status == 0, done.printed
    assert (clone / "jobs" / "hog").read_text().split() == ["400", "800"]
    assert [(job.name, job.state, job.memory, job.minutes) for job in done.jobs] == [
        ("rule_hog", "FAILED", "400M", "2:00"),
        ("rule_hog", "COMPLETED", "800M", "4:00"),
    ]
    [log] = (clone / ".snakemake" / "slurm_logs").rglob("*.log")
    assert "exceeded memory limit" in log.read_text()


def test_jobs_side_by_side_have_a_gpu_each(clone, submit):
    """Although one machine starts GPU jobs one by one: that limit is not the cluster's."""
    done = submit(clone, *SNAKEFILE, "--", "jobs/gpu0", "jobs/gpu1")
    assert done.status == 0, done.printed
    devices = [(clone / "jobs" / f"gpu{number}").read_text().strip() for number in (0, 1)]
    assert sorted(devices) == ["0", "1"]
    assert [job.state for job in done.jobs] == ["COMPLETED", "COMPLETED"]
