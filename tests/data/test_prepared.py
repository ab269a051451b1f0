"""The prepared format: round trip, same bytes from the same content, and bad files refused."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp

from mmrobust.data import prepared
from mmrobust.errors import UserError


def a_split(n: int = 3, *, size: int = 4, seed: int = 0) -> prepared.Split:
    rng = np.random.default_rng(seed)
    caption_image = np.repeat(np.arange(n), 2)
    return prepared.Split(
        images=rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8),
        captions=[f"caption {row} of a café" for row in range(2 * n)],
        caption_image=caption_image,
        positives=prepared.one_image_positives(caption_image, n),
    )


def a_lexicon(**changes: object) -> prepared.Lexicon:
    words: dict[str, object] = {
        "synonyms": {"big": ("large", "huge")},
        "alternatives": {"big": ("small", "large"), "below": ("above",)},
        "antonyms": {"big": ("small",)},
        "stop_words": frozenset({"the", "a", "of"}),
    }
    return prepared.Lexicon(**(words | changes))


def write(out: Path, **changes: object) -> None:
    splits = {name: a_split(seed=seed) for seed, name in enumerate(prepared.SPLITS)}
    arguments: dict[str, object] = {
        "lexicon": a_lexicon(),
        "dataset": "toy",
        "licence": "CC0",
        "redistributable": True,
        "source_resolution": None,
    }
    prepared.write_prepared(out, splits | changes.pop("splits", {}), **(arguments | changes))


def test_round_trip(tmp_path: Path) -> None:
    write(tmp_path / "toy")
    loaded = prepared.load_split(tmp_path / "toy", "dev")
    expected = a_split(seed=1)
    assert isinstance(loaded.images, np.memmap)
    np.testing.assert_array_equal(loaded.images, expected.images)
    assert loaded.captions == expected.captions
    assert loaded.caption_image.dtype == np.int64
    np.testing.assert_array_equal(loaded.caption_image, expected.caption_image)
    assert loaded.positives.dtype == bool
    np.testing.assert_array_equal(loaded.positives.toarray(), expected.positives.toarray())
    assert prepared.load_lexicon(tmp_path / "toy") == a_lexicon()
    manifest = prepared.load_manifest(tmp_path / "toy")
    assert manifest["splits"]["test"] == {"images": 3, "captions": 6}
    assert manifest["image_size"] == 4
    written = {str(p.relative_to(tmp_path / "toy")) for p in tmp_path.rglob("*") if p.is_file()}
    assert written == set(prepared.FILES)


def test_same_content_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "first")
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    same = a_split(seed=0)
    shuffled = sp.coo_array(same.positives).tocsc()  # another storage order, the same matrix
    doubled = prepared.Split(same.images, same.captions, same.caption_image, sp.csr_array(shuffled))
    turned = a_lexicon(
        alternatives={"below": ("above",), "big": ("small", "large")},
        stop_words=frozenset(["of", "a", "the"]),
    )
    write(tmp_path / "second", splits={"train": doubled}, lexicon=turned)
    for name in prepared.FILES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    with zipfile.ZipFile(tmp_path / "first/train/positives.npz") as archive:
        assert {info.date_time[0] for info in archive.infolist()} == {1980}


def test_replaces_an_earlier_version_and_sweeps_what_a_killed_run_left(tmp_path: Path) -> None:
    write(tmp_path / "toy", lexicon=a_lexicon(synonyms={"old": ("ancient",)}))
    (tmp_path / ".toy.part").mkdir()
    (tmp_path / ".toy.part" / "junk").touch()
    write(tmp_path / "toy")
    assert prepared.load_lexicon(tmp_path / "toy") == a_lexicon()
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_nothing_is_written_when_a_split_is_bad(tmp_path: Path) -> None:
    bad = a_split()
    bad = prepared.Split(bad.images, [*bad.captions[:-1], " "], bad.caption_image, bad.positives)
    with pytest.raises(UserError, match="split 'test': caption 5 is empty"):
        write(tmp_path / "toy", splits={"test": bad})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 0, 1, 1, 2, 3], r"image rows reach 0\.\.3, allowed: 0\.\.2"),
        ([0, 0, 2, 2, 1, 1], "not sorted by image"),
        ([0, 0, 0, 1, 1, 1], "image 2 has no caption"),
        ([0, 1, 2], r"image rows of shape \(3,\)"),
    ],
)
def test_index_is_checked(tmp_path: Path, rows: list[int], message: str) -> None:
    good = a_split()
    bad = prepared.Split(good.images, good.captions, np.array(rows), good.positives)
    with pytest.raises(UserError, match=message):
        write(tmp_path / "toy", splits={"dev": bad})


def test_images_must_be_square_and_of_one_size(tmp_path: Path) -> None:
    good = a_split()
    tall = prepared.Split(
        np.zeros((3, 4, 6, 3), np.uint8), good.captions, good.caption_image, good.positives
    )
    with pytest.raises(UserError, match="allowed: uint8"):
        write(tmp_path / "toy", splits={"dev": tall})
    with pytest.raises(UserError, match=r"differ in image size: \[4, 8\]"):
        write(tmp_path / "toy", splits={"dev": a_split(size=8)})


@pytest.mark.parametrize("name", [name for name in prepared.FILES if name != "lexicon.json"])
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / name).unlink()
    split = name.partition("/")[0] if "/" in name else "train"
    with pytest.raises(UserError, match=f"{name}: file is missing"):
        prepared.load_split(tmp_path, split)


@pytest.mark.parametrize("name", prepared.SPLIT_FILES)
def test_corrupt_file_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    path = tmp_path / "train" / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=f"train/{name}: (corrupt|differs)"):
        prepared.load_split(tmp_path, "train")


def bless(root: Path, name: str) -> None:
    """Make the manifest agree with an altered file, as a wrong writer would."""
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["sha256"][name] = prepared.sha256_file(root / name)
    (root / "manifest.json").write_text(json.dumps(manifest))


def test_wrong_columns_are_named(tmp_path: Path) -> None:
    write(tmp_path)
    table = pa.table({"text": ["a"] * 6, "image": pa.array([0, 0, 1, 1, 2, 2], pa.int32())})
    pq.write_table(table, tmp_path / "train/captions.parquet")
    bless(tmp_path, "train/captions.parquet")
    with pytest.raises(UserError, match=r"captions.parquet: columns are \['text', 'image'\]"):
        prepared.load_split(tmp_path, "train")


def test_wrong_number_of_positives_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    sp.save_npz(tmp_path / "train/positives.npz", sp.csr_array(np.ones((6, 2), bool)))
    bless(tmp_path, "train/positives.npz")
    with pytest.raises(UserError, match=r"positives of shape \(6, 2\)"):
        prepared.load_split(tmp_path, "train")


def test_images_of_another_shape_than_the_manifest_says_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    np.save(tmp_path / "train/images.npy", np.zeros((3, 8, 8, 3), np.uint8))
    with pytest.raises(UserError, match=r"images.npy: shape differs from manifest.json"):
        prepared.load_split(tmp_path, "train")


def test_unknown_split_and_foreign_manifest(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(UserError, match="did you mean 'train'"):
        prepared.load_split(tmp_path, "trian")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match=r"manifest.json: not the manifest"):
        prepared.load_manifest(tmp_path)


def test_lexicon_file_holds_sorted_words_and_ranked_substitutes(tmp_path: Path) -> None:
    write(tmp_path)
    text = (tmp_path / "lexicon.json").read_text()
    assert json.loads(text) == {
        "synonyms": {"big": ["large", "huge"]},
        "alternatives": {"below": ["above"], "big": ["small", "large"]},
        "antonyms": {"big": ["small"]},
        "stop_words": ["a", "of", "the"],
    }
    keys = re.findall(r'^ *"(\w+)": ', text, flags=re.MULTILINE)
    assert keys == [
        *("alternatives", "below", "big"),
        *("antonyms", "big"),
        "stop_words",
        *("synonyms", "big"),
    ]


NO_WORD = "is not one word in lower case"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"synonyms": None}, "'synonyms' is missing; delete it and run again"),
        ({"antonyms": None}, "'antonyms' is missing; delete it and run again"),
        ({"antonym": {}}, "unknown key 'antonym'; did you mean 'antonyms'"),
        ({"antonyms": ["big"]}, "antonyms: not a mapping of words to lists of words"),
        ({"synonyms": {"big": "large"}}, r"synonyms\.big: 'large' is not a list of words"),
        ({"synonyms": {"big": []}}, r"synonyms\.big: lists no words; allowed: one or more others"),
        ({"synonyms": {"big": ["huge", "big"]}}, r"synonyms\.big: lists the word itself; allowed"),
        ({"alternatives": {"big": ["huge", "huge"]}}, r"alternatives\.big: 'huge' is listed twice"),
        ({"alternatives": {"big": ["very big"]}}, rf"alternatives\.big: 'very big' {NO_WORD}"),
        ({"alternatives": {"Big": ["huge"]}}, f"alternatives: 'Big' {NO_WORD}"),
        ({"antonyms": {"big": [3]}}, rf"antonyms\.big: 3 {NO_WORD}"),
        ({"stop_words": ["a", ""]}, f"stop_words: '' {NO_WORD}"),
        ({"stop_words": {"a": 1}}, r"stop_words: \{'a': 1\} is not a list of words"),
    ],
)
def test_bad_lexicon_is_named_by_file_and_key(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    write(tmp_path)
    path = tmp_path / "lexicon.json"
    words = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in words.items() if value is not None}))
    with pytest.raises(UserError, match=rf"lexicon\.json: {message}"):
        prepared.load_lexicon(tmp_path)


def test_lexicon_of_another_layout_or_nowhere_is_named(tmp_path: Path) -> None:
    for content in ("[]", '"words"'):
        (tmp_path / "lexicon.json").write_text(content)
        with pytest.raises(UserError, match=r"lexicon\.json: not a lexicon \(allowed: an object"):
            prepared.load_lexicon(tmp_path)
    (tmp_path / "lexicon.json").write_text('{"big": ["large"]}')  # synonyms alone
    with pytest.raises(UserError, match=r"lexicon\.json: 'synonyms' is missing; delete it"):
        prepared.load_lexicon(tmp_path)
    with pytest.raises(UserError, match=r"nowhere/lexicon\.json: file is missing"):
        prepared.load_lexicon(tmp_path / "nowhere")


def test_nothing_is_written_when_the_lexicon_is_bad(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"toy: lexicon: synonyms\.big: 'very large' is not one"):
        write(tmp_path / "toy", lexicon=a_lexicon(synonyms={"big": ("very large",)}))
    assert list(tmp_path.iterdir()) == []
