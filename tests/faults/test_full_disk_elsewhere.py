"""A full disk under what no study's graph runs: downloads, imports, and what is published."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.disks import FULL, NO_SPACE, TOO_LARGE, full_at
from tests.faults.verbs import Verb, run_verb
from tests.servers import FolderServer, serving
from tests.trees import differing, files

from mmrobust.data.raw import raw_files
from mmrobust.figures.catalogue import FIGURES

EARLIER = "of an earlier run\n"


@pytest.fixture
def address(tmp_path, monkeypatch) -> Iterator[str]:
    """Of a server whose folder is `served`."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "served").mkdir()
    with serving(FolderServer(tmp_path / "served")) as server:
        yield server.address


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder with raw word pairs, as an earlier download left them."""
    raw = tmp_path / "project" / "data" / "raw"
    (raw / "lexicon").mkdir(parents=True)
    for name in raw_files("lexicon").names:
        (raw / "lexicon" / name).write_text("in out\n")
    (raw / "lexicon" / "sources.json").write_text(EARLIER)
    return tmp_path / "project"


def downloading(address: str, name: str, content: bytes, *, unpack: bool = False) -> Verb:
    source = {
        "url": f"{address}/{name}",
        "sha256": hashlib.sha256(content).hexdigest(),
        "unpack": unpack,
    }
    cfg = {"name": "lexicon", "sources": {name: source}, "accept_terms": True}
    out = "data/raw/lexicon/sources.json"
    return ("download-data", "--cfg", json.dumps(cfg), "--raw", "data/raw", "--out", out)


def test_a_download_that_finds_no_space(address, project, tmp_path):
    name = raw_files("lexicon").names[0]
    content = b"dog hound\n" * 1000
    (tmp_path / "served" / name).write_bytes(content)
    place = project / "data" / "raw" / "lexicon"
    (place / name).unlink()
    (place / f".{name}.part").symlink_to("/dev/full")
    before = files(project)
    ended = run_verb(downloading(address, name, content), project)
    assert ended.line == f"data/raw/lexicon/{name}: {NO_SPACE}"
    assert differing(before, files(project)) == []
    (place / f".{name}.part").unlink()
    went_on = run_verb(downloading(address, name, content), project)
    assert went_on.status == 0, went_on.told
    assert (place / name).read_bytes() == content
    assert [path.name for path in place.glob(".*")] == []


def test_a_download_over_the_limit_of_a_file_keeps_what_arrived(address, project, tmp_path):
    name = raw_files("lexicon").names[0]
    content = os.urandom(200_000)
    (tmp_path / "served" / name).write_bytes(content)
    place = project / "data" / "raw" / "lexicon"
    (place / name).unlink()
    before = files(project)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    ended = run_verb(downloading(address, name, content), project, before=limit)
    assert ended.line == f"data/raw/lexicon/{name}: {TOO_LARGE}"
    part = place / f".{name}.part"
    assert differing(before, files(project)) == [str(part.relative_to(project))]
    assert part.read_bytes() == content[:100_000]
    went_on = run_verb(downloading(address, name, content), project)
    assert went_on.status == 0, went_on.told
    assert (place / name).read_bytes() == content


def test_an_archive_that_finds_no_space_is_not_unpacked(project):
    name = raw_files("flickr8k").names[1]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.txt", bytes(40_000 * number))
    place = project / "data" / "raw" / name
    place.write_bytes(stream.getvalue())
    before = files(project)

    def unpack() -> None:
        from mmrobust.cli import app

        @app.command()
        def unpack() -> None:
            from mmrobust.data.archives import extract

            extract(place, place.with_suffix(""))

        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    ended = run_verb(("unpack",), project, before=unpack)
    assert ended.line == f"data/raw/{place.stem}: {TOO_LARGE}"
    assert differing(before, files(project)) == []


def test_an_import_that_finds_no_space_leaves_the_old_links(project, tmp_path):
    for version in ("old", "new"):
        (tmp_path / version).mkdir()
        for name in raw_files("lexicon").names:
            (tmp_path / version / name).write_text(f"{version} in\n")
    shutil.rmtree(project / "data" / "raw" / "lexicon")
    verb = ("import-data", "lexicon", "--accept-new-checksums")
    assert run_verb((*verb, str(tmp_path / "old")), project).status == 0
    before = files(project)
    ended = run_verb((*verb, str(tmp_path / "new")), project, before=full_at(1))
    assert ended.line == f"data/raw/lexicon.sha256: {NO_SPACE}"
    assert differing(before, files(project)) == []
    assert run_verb((*verb, str(tmp_path / "new")), project).status == 0
    assert differing(before, files(project)) == [
        "data/raw/lexicon.sha256",
        *(f"data/raw/lexicon/{name}" for name in sorted(raw_files("lexicon").names)),
    ]


@pytest.fixture
def finished(tiny, tmp_path) -> Path:
    """Results with figures, what was published of an earlier study, and a comparison."""
    results = tmp_path / "project" / "results" / "tiny"
    shutil.copytree(tiny[0] / "results" / "tiny", results)
    (results / "figures").mkdir()
    for name in FIGURES:
        (results / "figures" / f"{name}.png").write_bytes(b"a picture")
    for name in ("published/README.md", "published/flags.csv.gz", "compared.csv"):
        (tmp_path / "project" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "project" / name).write_text(EARLIER)
    return tmp_path / "project"


@pytest.mark.parametrize(
    "verb",
    [
        ("publish-results", "--results", "results/tiny", "--out", "published"),
        ("compare", "results/tiny", "results/tiny", "--out", "compared.csv"),
        ("write-schema", "--out", "results/tiny/flags.csv"),
    ],
    ids=lambda verb: verb[0],
)
def test_what_is_written_by_hand_finds_no_space(finished, verb):
    before = files(finished)
    for number in range(1, 100):
        ended = run_verb(verb, finished, before=full_at(number))
        if FULL not in ended.told:
            break
        [file] = [line for line in ended.told.splitlines() if line.startswith(FULL)]
        assert ended.line == f"{file.removeprefix(FULL)}: {NO_SPACE}"
        assert differing(before, files(finished)) == []
    assert ended.status == 0, ended.told
    assert number > (5 if verb[0] == "publish-results" else 1)
