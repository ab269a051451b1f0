"""The Kubernetes profile, on an API whose pods are processes that share no file of the study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.pods import Cluster, container_of, kubernetes
from tests.cluster.remotes import KEYS, Remote, in_a_bucket
from tests.workflow.test_kills import SMOKE, results

SNAKEFILE = ("--snakefile", "tests/cluster/jobs.smk")


@pytest.fixture
def bucket(tmp_path) -> Iterator[Remote]:
    with in_a_bucket(tmp_path) as place:
        yield place


@pytest.fixture
def cluster(tmp_path) -> Iterator[Cluster]:
    (tmp_path / "cluster").mkdir()
    with kubernetes(tmp_path / "cluster") as running:
        yield running


@pytest.fixture
def submit(bucket, cluster, tool):
    """Run Snakemake in a clone through the project's Kubernetes profile."""

    def run(clone: Path, *arguments: str):
        options = (
            *("--default-storage-prefix", bucket.url),
            *("--storage-s3-endpoint-url", bucket.options["endpointurl"]),
            *("--storage-s3-region", bucket.options["region"]),
            *("--seconds-between-status-checks", "1"),
        )
        return tool(
            *("snakemake", "--profile", "profiles/kubernetes", *options, *arguments),
            cwd=clone,
            check=False,
            KUBECONFIG=str(cluster.kubeconfig()),
            SNAKEMAKE_STORAGE_S3_ACCESS_KEY=KEYS["AWS_ACCESS_KEY_ID"],
            SNAKEMAKE_STORAGE_S3_SECRET_KEY=KEYS["AWS_SECRET_ACCESS_KEY"],
            no_proxy="127.0.0.1",
            NO_PROXY="127.0.0.1",
        )

    return run


def test_pods_end_with_the_bytes_of_a_local_run_in_the_bucket(
    local_run, fresh_clone, submit, cluster, bucket
):
    clone = fresh_clone("kubernetes")
    done = submit(clone, *SMOKE, "--jobs", "2")
    assert done.returncode == 0, done.stdout + cluster.logs()
    stored, expected = bucket.stored(), results(local_run)
    assert len(expected) > 200
    assert [name for name in expected if stored.get(name) != expected[name]] == []
    for folder in ("data/processed", "data/augmented", "results/smoke/models"):
        assert not (clone / folder).exists()
    assert "dvc: nothing recorded: --default-storage-provider" in done.stdout
    containers = [container_of(job) for job in cluster.jobs.values()]
    assert len(containers) == 24, "figures and verdicts are made here"
    assert {of["image"] for of in containers} == {"registry.example.org/mmrobust:0.1.0"}
    again = submit(clone, *SMOKE, "--dry-run")
    assert "Nothing to be done" in again.stdout


def test_a_pod_has_as_limits_what_its_job_asks_for_and_more_when_it_failed(
    fresh_clone, submit, cluster, monkeypatch
):
    monkeypatch.setattr(cluster, "environment", dict)  # an image without any program
    done = submit(fresh_clone("gpu"), *SNAKEFILE, "--", "jobs/gpu0")
    assert done.returncode != 0
    asked = [container_of(job)["resources"] for job in cluster.jobs.values()]
    assert [of["limits"]["memory"] for of in asked] == ["400M", "800M", "1600M"]
    assert [of["limits"]["nvidia.com/gpu"] for of in asked] == ["1", "1", "1"]
    assert [of["requests"] for of in asked] == [
        {**of["limits"], "cpu": of["requests"]["cpu"]} for of in asked
    ]
