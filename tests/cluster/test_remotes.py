"""Artifacts go to a remote and come back from it; what is not ours to pass on stays here."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.remotes import Remote, files_below, in_a_bucket, in_a_folder, over_ssh
from tests.conftest import git

DATA = Path("data/processed/smoke")
PRIVATE = Path("data/processed/flickr8k/manifest.json")
STAGES = ("data@smoke", "real_data@flickr8k")


@pytest.fixture(scope="module")
def made(fresh_clone, tool) -> Path:
    """A clone with the smoke study's data, and others that may not be redistributed."""
    clone = fresh_clone("made")
    tool(
        *("snakemake", "--cores", "1", "--configfile", "config/smoke.yaml", "--", "data"), cwd=clone
    )
    for file in (PRIVATE, Path("data/raw/flickr8k/sources.json")):
        (clone / file).parent.mkdir(parents=True, exist_ok=True)
        (clone / file).write_text(f"this is {file}")
    tool("dvc", "commit", "--force", "real_data@flickr8k", cwd=clone)
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    git(clone, *author, "commit", "--quiet", "--no-verify", "--all", "--message", "Data")
    return clone


@pytest.fixture(params=[in_a_folder, in_a_bucket, over_ssh], ids=lambda place: place.__name__)
def remote(request, tmp_path) -> Iterator[Remote]:
    (tmp_path / "store").mkdir()
    with request.param(tmp_path / "store") as place:
        yield place


def configure(clone: Path, remote: Remote, tool) -> None:
    """As docs/clusters.md says."""
    tool("dvc", "remote", "add", "--local", "--default", "store", remote.url, cwd=clone)
    for name, value in remote.options.items():
        tool("dvc", "remote", "modify", "--local", "store", name, value, cwd=clone)


def test_what_one_clone_pushes_another_pulls(made, remote, tool, tmp_path):
    clones = [tmp_path / name for name in ("pushes", "pulls")]
    shutil.copytree(made, clones[0], symlinks=True)
    git(tmp_path, "clone", "--quiet", str(made), str(clones[1]))
    for clone in clones:
        configure(clone, remote, tool)
        assert git(clone, "status", "--porcelain") == "", "where it is is nobody else's"
    tool("dvc", "push", *STAGES, cwd=clones[0], **remote.variables)
    stored = {name.replace("/", "") for name in remote.stored()}
    tool("dvc", "pull", STAGES[0], cwd=clones[1], **remote.variables)
    pushed, pulled = (files_below(clone / DATA) for clone in clones)
    assert "test/images.npy" in pushed
    assert pulled == pushed
    sums = {f"filesmd5{hashlib.md5(content).hexdigest()}" for content in pushed.values()}
    assert sums <= stored
    private = hashlib.md5((clones[0] / PRIVATE).read_bytes()).hexdigest()
    assert (clones[0] / ".dvc" / "cache" / "files" / "md5" / private[:2] / private[2:]).is_file()
    assert f"filesmd5{private}" not in stored
    # The data's folder itself, and the public file of the other study.
    assert len(stored) == len(sums) + 2
