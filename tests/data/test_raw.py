"""Importing raw files: checked, linked, and held to the committed checksums."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from mmrobust.data import DATASETS
from mmrobust.data.raw import import_data, raw_needs, read_checksums
from mmrobust.errors import UserError
from mmrobust.registry import resolve

LEXICON = Path(__file__).parents[2] / "data/raw/lexicon.sha256"


@pytest.fixture
def source(tmp_path: Path, flickr8k_files) -> Path:
    return flickr8k_files.write_archives(tmp_path / "source")


def test_links_and_records(tmp_path: Path, source: Path) -> None:
    facts = import_data("flickr8k", source, tmp_path / "raw")
    archive = tmp_path / "raw/flickr8k/Flickr8k_text.zip"
    assert archive.is_symlink()
    assert archive.resolve() == (source / "Flickr8k_text.zip").resolve()
    assert facts["files"]["Flickr8k_text.zip"] == {
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "bytes": archive.stat().st_size,
    }
    command = ["sha256sum", "--check", "--strict", "../flickr8k.sha256"]
    subprocess.run(command, cwd=archive.parent, check=True, capture_output=True)


def test_again_is_the_same(tmp_path: Path, source: Path) -> None:
    raw = tmp_path / "raw"
    first = import_data("flickr8k", source, raw)
    (raw / "flickr8k/sources.json").write_text(json.dumps(first))
    assert import_data("flickr8k", source, raw) == first
    assert (raw / "flickr8k/sources.json").exists()
    assert import_data("flickr8k", raw / "flickr8k", raw) == first  # onto itself
    assert (raw / "flickr8k/Flickr8k_text.zip").resolve().is_relative_to(source.resolve())


def test_unpacked_folder(tmp_path: Path, source: Path, flickr8k_files) -> None:
    raw = tmp_path / "raw"
    import_data("flickr8k", source, raw)
    folder = flickr8k_files.write_folder(tmp_path / "unpacked")
    facts = import_data("flickr8k", folder, raw, accept_new_checksums=True)
    assert "Flicker8k_Dataset/" in facts["files"]
    linked = {path.name for path in (raw / "flickr8k").iterdir()}
    assert linked == {"Flicker8k_Dataset", *flickr8k_files.text_files()} - {"readme.txt"}
    (folder / "Flicker8k_Dataset/dog.jpg").write_bytes(b"another")
    with pytest.raises(UserError, match=r"Flicker8k_Dataset/: sha256 is"):
        import_data("flickr8k", folder, raw)


def test_other_files_than_committed_need_a_word(
    tmp_path: Path, source: Path, flickr8k_files
) -> None:
    raw = tmp_path / "raw"
    first = import_data("flickr8k", source, raw)
    (raw / "flickr8k/sources.json").write_text(json.dumps(first))
    committed = (raw / "flickr8k.sha256").read_text()
    text = flickr8k_files.text_files() | {"readme.txt": b"changed"}
    other = flickr8k_files.write_archives(tmp_path / "other", text=text)
    with pytest.raises(UserError) as error:
        import_data("flickr8k", other, raw)
    new = hashlib.sha256((other / "Flickr8k_text.zip").read_bytes()).hexdigest()
    for part in ("Flickr8k_text.zip", new, committed.split()[2], "--accept-new-checksums"):
        assert part in str(error.value)
    assert (raw / "flickr8k.sha256").read_text() == committed
    assert (raw / "flickr8k/Flickr8k_text.zip").resolve().parent == source.resolve()

    import_data("flickr8k", other, raw, accept_new_checksums=True)
    assert read_checksums(raw / "flickr8k.sha256")["Flickr8k_text.zip"] == new
    assert (raw / "flickr8k/Flickr8k_text.zip").resolve().parent == other.resolve()
    assert not (raw / "flickr8k/sources.json").exists()


def test_word_pairs_are_linked_and_held_to_their_checksums(tmp_path: Path, word_pairs) -> None:
    raw, source = tmp_path / "raw", word_pairs(tmp_path / "source")
    facts = import_data("lexicon", source, raw)
    names = ["ppdb_antonyms.txt", "ppdb_synonyms.txt", "wordnet_antonyms.txt"]
    assert sorted(facts["files"]) == sorted(read_checksums(raw / "lexicon.sha256")) == names
    assert all((raw / "lexicon" / name).resolve() == source / name for name in names)
    word_pairs(source, wordnet_antonyms="big small\n")
    with pytest.raises(UserError, match=r"wordnet_antonyms.txt: sha256 is \w+, .*says"):
        import_data("lexicon", source, raw)
    (source / "ppdb_antonyms.txt").unlink()
    with pytest.raises(UserError, match=r"source: ppdb_antonyms.txt is missing"):
        import_data("lexicon", source, raw)


def test_the_real_word_pairs_are_the_committed_ones(tmp_path: Path, real_data: Path) -> None:
    facts = import_data("lexicon", real_data / "lexicon", tmp_path)
    found = {name: fact["sha256"] for name, fact in facts["files"].items()}
    assert found == read_checksums(LEXICON)


def test_bad_sources(tmp_path: Path, source: Path) -> None:
    raw = tmp_path / "raw"
    (source / "Flickr8k_Dataset.zip").unlink()
    with pytest.raises(UserError, match=r"Flickr8k_Dataset.zip is missing \(nor, unpacked, Fli"):
        import_data("flickr8k", source, raw)
    with pytest.raises(UserError, match=r"ppdb_synonyms.txt is missing"):
        import_data("lexicon", source, raw)
    with pytest.raises(UserError, match="unknown dataset 'flickr9k'; did you mean 'flickr8k'"):
        import_data("flickr9k", source, raw)
    with pytest.raises(UserError, match="'scenes' needs no raw files"):
        import_data("scenes", source, raw)
    assert not raw.exists()


def test_a_file_in_the_way_is_kept(tmp_path: Path, source: Path) -> None:
    place = tmp_path / "raw/flickr8k/Flickr8k_text.zip"
    place.parent.mkdir(parents=True)
    place.write_text("precious")
    with pytest.raises(UserError, match=r"Flickr8k_text.zip: is in the way"):
        import_data("flickr8k", source, tmp_path / "raw")
    assert place.read_text() == "precious"


def test_list_of_checksums_must_be_one(tmp_path: Path, source: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/flickr8k.sha256").write_text("abc  Flickr8k_text.zip\n")
    with pytest.raises(UserError, match=r"flickr8k.sha256: line 1 is not '<64 hex digits>"):
        import_data("flickr8k", source, tmp_path / "raw")


def test_needs() -> None:
    needs = {key: files.dataset for key, files in raw_needs("flickr8k").items()}
    assert needs == {"raw": "flickr8k", "lexicon": "lexicon"}
    assert raw_needs("scenes") == {}


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_a_dataset_with_raw_files_says_where_each_of_them_lies(dataset: str) -> None:
    """The pipeline plans a download for those that `raw_datasets` names, and for no other."""
    cls = resolve(DATASETS, dataset, kind="dataset", base=object)
    named = getattr(cls, "raw_datasets", {})
    assert (dataset in named) == bool(getattr(cls, "raw_files", ()))
    assert set(named.values()) <= set(cls.__dataclass_fields__)
