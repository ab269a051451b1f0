"""A dataset that has addresses, from a server on the loopback to prepared arrays: real jobs."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from tests.servers import FolderServer, serving

from mmrobust.data.prepared import load_lexicon, load_split

pytestmark = pytest.mark.workflow

SPLITS = {"train": ["dog.jpg", "cat.jpg"], "dev": ["sea.jpg"], "test": ["boy.jpg", "hat.jpg"]}
NAMES = [name for names in SPLITS.values() for name in names]
ARGUMENTS = ["--cores", "1", "--configfile", "config/tiny.yaml", "--", "data"]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[FolderServer]:
    folder = tmp_path_factory.mktemp("served")
    for name, content in published().items():
        (folder / name).write_bytes(content)
    with serving(FolderServer(folder)) as served:
        yield served


def published() -> dict[str, bytes]:
    """The raw files of a tiny dataset in the layout of Flickr8k."""
    captions = [f"{name}#{n}\tA {name[:3]} in picture {n} .\n" for name in NAMES for n in range(5)]
    texts = {"Flickr8k.token.txt": "".join(captions).encode()}
    for split, names in SPLITS.items():
        texts[f"Flickr_8k.{split}Images.txt"] = "\n".join(names).encode()
    photographs = {f"Flicker8k_Dataset/{name}": a_jpeg(seed) for seed, name in enumerate(NAMES)}
    return {
        "Flickr8k_Dataset.zip": zipped(photographs),
        "Flickr8k_text.zip": zipped(texts),
        "ppdb_synonyms.txt": b"dog hound\npicture image\n",
        "ppdb_antonyms.txt": b"dog cat\n",
        "wordnet_antonyms.txt": b"in out\n",
    }


def a_jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


def checksums() -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in published().items()}


def commit_lists(clone: Path, sums: Mapping[str, str]) -> None:
    """Write the lists that stand in the project's history for this dataset's files."""
    lines = {name: f"{value}  {name}\n" for name, value in sums.items()}
    pairs = [lines.pop(name) for name in list(lines) if name.endswith("nyms.txt")]
    (clone / "data" / "raw" / "flickr8k.sha256").write_text("".join(lines.values()))
    (clone / "data" / "raw" / "lexicon.sha256").write_text("".join(pairs))


@pytest.fixture(scope="module")
def downloaded(fresh_clone, tool, server) -> Path:
    """A fresh clone with a study of the served files, whose data were made."""
    clone = fresh_clone("download")
    config = yaml.safe_load((clone / "config" / "flickr8k.yaml").read_text())
    config["study"] = "tiny"
    config["dataset"] = {
        "name": "flickr8k",
        "image_size": config["dataset"]["image_size"],
        "accept_terms": True,
        "sources": {
            name: {"url": f"{server.address}/{name}", "sha256": value}
            for name, value in checksums().items()
        },
    }
    (clone / "config" / "tiny.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    commit_lists(clone, checksums())
    tool("snakemake", *ARGUMENTS, cwd=clone, no_proxy="127.0.0.1", NO_PROXY="127.0.0.1")
    return clone


def test_the_served_files_become_the_study_s_data(downloaded, server):
    assert sorted(server.requests) == sorted(f"/{name}" for name in published())
    for split, names in SPLITS.items():
        prepared = load_split(downloaded / "data" / "processed" / "tiny", split)
        assert prepared.images.shape == (len(names), 64, 64, 3)
        assert len(prepared.captions) == 5 * len(names)
    lexicon = load_lexicon(downloaded / "data" / "processed" / "tiny")
    assert lexicon.synonyms["dog"] == ("hound",)
    assert lexicon.antonyms["dog"] == ("cat",)


def test_the_second_run_does_nothing_and_asks_nothing(downloaded, server, tool):
    before = list(server.requests)
    assert "Nothing to be done" in tool("snakemake", *ARGUMENTS, cwd=downloaded).stdout
    assert server.requests == before


def test_another_list_of_checksums_checks_what_is_here_and_refuses(downloaded, server, tool):
    before = list(server.requests)
    commit_lists(downloaded, {**checksums(), "Flickr8k_text.zip": "0" * 64})
    done = tool("snakemake", *ARGUMENTS, cwd=downloaded, check=False)
    commit_lists(downloaded, checksums())
    assert done.returncode != 0
    assert "Flickr8k_text.zip: sha256 is" in done.stdout
    assert "prepare_data" not in done.stdout.partition("Error in rule")[2]
    assert server.requests == before
