"""Flickr8k: the official layout in, the prepared format out, and every flaw named by its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmrobust.data import DATASETS
from mmrobust.data.flickr8k import Flickr8k
from mmrobust.data.lexicon import STOP_WORDS
from mmrobust.data.prepared import (
    FILES,
    SPLITS,
    Lexicon,
    load_lexicon,
    load_manifest,
    load_split,
)
from mmrobust.errors import UserError
from mmrobust.registry import resolve

PAIRS = {
    "ppdb_synonyms.txt": "thing object\nthing stuff\nnumber figure\nlike similar\nlike alike\n",
    "ppdb_antonyms.txt": "thing nothing\nlarge small\n",
    "wordnet_antonyms.txt": "like unlike\nalike like\n",
}


def prepare(tmp_path: Path, raw: Path, **settings: object) -> Path:
    pairs = tmp_path / "pairs"
    pairs.mkdir(parents=True, exist_ok=True)
    for name, content in PAIRS.items():
        (pairs / name).write_text(content)
    out = tmp_path / "out"
    config = {"raw": str(raw), "lexicon": str(pairs), "image_size": 8}
    Flickr8k(**(config | settings)).prepare(out, seed=0)
    return out


def test_archives_are_prepared(tmp_path: Path, flickr8k_files) -> None:
    out = prepare(tmp_path, flickr8k_files.write_archives(tmp_path / "raw"))
    train = load_split(out, "train")
    assert train.images.shape == (3, 8, 8, 3)
    assert train.captions[5] == "a cat like thing number 0"
    assert train.captions[9] == "a cat like thing number 4"
    np.testing.assert_array_equal(train.caption_image, np.repeat([0, 1, 2], 5))
    np.testing.assert_array_equal(
        train.positives.toarray(), np.repeat(np.eye(3, dtype=bool), 5, axis=0)
    )
    manifest = load_manifest(out)
    assert manifest["splits"]["test"] == {"images": 2, "captions": 10}
    assert manifest["source_resolution"] == "12x8"
    assert manifest["redistributable"] is False
    assert load_lexicon(out) == Lexicon(
        synonyms={"thing": ("object", "stuff"), "number": ("figure",), "like": ("similar",)},
        alternatives={},
        antonyms={"thing": ("nothing",), "like": ("alike", "unlike")},
        stop_words=STOP_WORDS,
    )


def test_folder_gives_the_same_bytes_as_archives(tmp_path: Path, flickr8k_files) -> None:
    first = prepare(tmp_path / "a", flickr8k_files.write_archives(tmp_path / "a" / "raw"))
    second = prepare(tmp_path / "b", flickr8k_files.write_folder(tmp_path / "b" / "raw"))
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_registered() -> None:
    assert resolve(DATASETS, "flickr8k", kind="dataset", base=object) is Flickr8k


def test_splits_can_be_limited_and_sizes_may_vary(tmp_path: Path, flickr8k_files) -> None:
    photographs = flickr8k_files.photograph_files() | {"dog.jpg": flickr8k_files.a_jpeg(30, 40)}
    raw = flickr8k_files.write_archives(tmp_path / "raw", photographs=photographs)
    out = prepare(tmp_path, raw, splits={"train": 2, "test": 1, "dev": None})
    assert [len(load_split(out, split).images) for split in SPLITS] == [2, 1, 1]
    assert load_manifest(out)["source_resolution"] == "varying"
    with pytest.raises(UserError, match=r"dataset.splits.test: 3, but the split has 2 images"):
        prepare(tmp_path, raw, splits={"test": 3})


Alter = Callable[[dict[str, bytes]], None]
TOKENS = "Flickr8k.token.txt"


def replace(name: str, old: bytes, new: bytes) -> Alter:
    def alter(files: dict[str, bytes]) -> None:
        assert old in files[name]
        files[name] = files[name].replace(old, new)

    return alter


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (replace(TOKENS, b"cat.jpg#1\t", b"cat.jpg#1 "), r"token.txt: line 7 has no tab"),
        (replace(TOKENS, b"cat.jpg#1", b"cat.jpg#5"), r"line 7: 'cat.jpg#5' is not"),
        (replace(TOKENS, b"cat.jpg#1", b"cat.jpg"), r"line 7: 'cat.jpg' is not"),
        (replace(TOKENS, b"cat.jpg#1", b"cat.jpg#0"), r"line 7: caption cat.jpg#0 was given"),
        (
            replace(TOKENS, b"A cat-like thing , number 1 .", b"- ."),
            r"line 7: caption cat.jpg#1 is empty",
        ),
        (replace(TOKENS, b"A cat", b"A c\xe9t"), r"token.txt: line 6 is not UTF-8"),
        (
            replace(TOKENS, b"hat.jpg#", b"other.jpg#"),
            r"no caption of hat.jpg, which Flickr_8k.testImages.txt lists",
        ),
        (
            replace("Flickr_8k.testImages.txt", b"hat.jpg", b"hat.jpg\ncat.jpg"),
            r"testImages.txt: line 3: cat.jpg is listed .* by Flickr_8k.trainImages.txt line 2",
        ),
        (
            replace("Flickr_8k.trainImages.txt", b"cat.jpg\n", b"cat.jpg\n\ncat.jpg\n"),
            r"trainImages.txt: line 4: cat.jpg is listed already by Flickr_8k.trainImages.txt",
        ),
        (
            replace("Flickr_8k.devImages.txt", b"sea.jpg", b""),
            r"devImages.txt: lists no photograph",
        ),
        (lambda files: files.pop("Flickr_8k.devImages.txt"), r"devImages.txt: file is missing"),
        (lambda files: files.pop(TOKENS), r"Flickr8k_text.zip:Flickr8k.token.txt: file is missing"),
    ],
)
def test_bad_text_is_named_by_file_and_line(
    tmp_path: Path, flickr8k_files, alter: Alter, message: str
) -> None:
    text = flickr8k_files.text_files()
    alter(text)
    with pytest.raises(UserError, match=message) as error:
        prepare(tmp_path, flickr8k_files.write_archives(tmp_path / "raw", text=text))
    assert "Flickr8k_text.zip" in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"trainImages.txt: line 3 lists car.jpg, which .*Flickr8k_Dataset.zip lacks"),
        (b"no picture", r"Dataset.zip:Flicker8k_Dataset/car.jpg: photograph does not decode"),
        (b"cut", r"Dataset.zip:Flicker8k_Dataset/car.jpg: photograph does not decode"),
    ],
)
def test_bad_photograph_is_named(
    tmp_path: Path, flickr8k_files, content: bytes | None, message: str
) -> None:
    photographs = flickr8k_files.photograph_files()
    whole = photographs.pop("car.jpg")
    if content is not None:
        photographs["car.jpg"] = whole[:-200] if content == b"cut" else content
    raw = flickr8k_files.write_archives(tmp_path / "raw", photographs=photographs)
    with pytest.raises(UserError, match=message):
        prepare(tmp_path, raw)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs", "raw"]


def test_damaged_archive_is_named(tmp_path: Path, flickr8k_files) -> None:
    raw = flickr8k_files.write_archives(tmp_path / "raw")
    archive = raw / "Flickr8k_Dataset.zip"
    content = bytearray(archive.read_bytes())
    content[content.index(flickr8k_files.photograph_files()["cat.jpg"]) + 300] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(UserError, match=r"Flicker8k_Dataset/cat.jpg: cannot be read \(Bad CRC"):
        prepare(tmp_path, raw)
    archive.write_bytes(content[:500])
    with pytest.raises(UserError, match=r"Flickr8k_Dataset.zip: not a readable zip archive"):
        prepare(tmp_path, raw)


def test_missing_raw_files_tell_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"gone: neither Flickr8k_text.zip .*import-data flickr8k FROM"
    ):
        prepare(tmp_path, tmp_path / "gone")


def test_missing_pairs_tell_how_to_get_them(tmp_path: Path, flickr8k_files) -> None:
    raw = flickr8k_files.write_archives(tmp_path / "raw")
    with pytest.raises(UserError, match=r"gone/ppdb_synonyms.txt: file of word pairs is .*lexicon"):
        prepare(tmp_path, raw, lexicon=str(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 0}, "dataset.image_size: 0, allowed"),
        ({"max_substitutes": "10"}, "dataset.max_substitutes: '10', allowed"),
        ({"splits": {"val": 3}}, "unknown split under dataset.splits 'val'"),
        ({"splits": {"dev": 0}}, "dataset.splits.dev: 0, allowed: null or"),
        ({"sources": {"Flickr8k_text": {}}}, "did you mean 'Flickr8k_text.zip'"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Flickr8k(**settings)


def test_real_photographs(tmp_path: Path, real_data: Path) -> None:
    Flickr8k(
        raw=str(real_data / "flickr8k"),
        lexicon=str(real_data / "lexicon"),
        image_size=32,
        splits={"train": 20, "dev": 5, "test": 5},
    ).prepare(tmp_path / "out", seed=0)
    for split, images in {"train": 20, "dev": 5, "test": 5}.items():
        loaded = load_split(tmp_path / "out", split)
        assert len(loaded.captions) == 5 * images
        assert loaded.images.std(axis=(1, 2, 3)).min() > 5  # photographs, not blank fields
    words = {word for caption in loaded.captions for word in caption.split()}
    assert all(word.isalnum() for word in words)
    lexicon = load_lexicon(tmp_path / "out")
    assert len(lexicon.synonyms) > 50
    assert len(lexicon.antonyms) > 30
