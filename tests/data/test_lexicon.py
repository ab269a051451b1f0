"""The lexicon from files of word pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mmrobust.data.lexicon import STOP_WORDS, WordPairs, build_lexicon
from mmrobust.data.prepared import Lexicon
from mmrobust.errors import UserError

Build = Callable[..., Lexicon]


@pytest.fixture
def build(tmp_path: Path, word_pairs: Callable[..., Path]) -> Build:
    def build(*captions: str, limit: int = 10, **files: str | bytes) -> Lexicon:
        folder = word_pairs(tmp_path / "pairs", **files)
        everywhere = [*captions, "canine seen in test"]
        return build_lexicon(folder, everywhere, captions, max_substitutes=limit)

    return build


def test_symmetric_and_for_caption_words_only(build: Build) -> None:
    pairs = "Dog hound\r\nboat ship\n\ncanine dog\n"
    lexicon = build("a dog and a ship", ppdb_synonyms=pairs)
    assert lexicon.synonyms == {
        "canine": ("dog",),
        "dog": ("canine", "hound"),
        "ship": ("boat",),
    }
    assert lexicon.stop_words == STOP_WORDS
    assert lexicon.alternatives == lexicon.antonyms == {}


def test_order_is_training_frequency_then_alphabet_and_the_cap_keeps_the_first(
    build: Build,
) -> None:
    pairs = "big huge\nbig large\nbig great\nbig bulky\n"
    captions = ("big large", "large huge", "large")
    assert build(*captions, ppdb_synonyms=pairs).synonyms["big"] == (
        "large",
        "huge",
        "bulky",
        "great",
    )
    assert build(*captions, limit=2, ppdb_synonyms=pairs).synonyms["big"] == ("large", "huge")


def test_function_words_non_words_and_self_pairs_are_left_out(build: Build) -> None:
    pairs = "while whilst\nover finished\ndog dog\ndog k9\ndog four-legged\ndog hound\n"
    opposites = "with without\ninside dog\ndog anti-dog\ndog cat\n"
    lexicon = build("while over dog k9 finished", ppdb_synonyms=pairs, ppdb_antonyms=opposites)
    assert lexicon.synonyms == {"dog": ("hound",)}
    assert lexicon.antonyms == {"dog": ("cat",)}


def test_antonyms_of_both_files_hold_both_ways_and_have_no_cap(build: Build) -> None:
    lexicon = build(
        "a big dog",
        "big dark sky",
        "dark",
        limit=1,
        ppdb_antonyms="big small\nBIG little\nhot cold\n",
        wordnet_antonyms="tiny big\nbig small\nlight dark\n",
    )
    assert lexicon.antonyms == {"big": ("little", "small", "tiny"), "dark": ("light",)}


def test_a_pair_that_both_files_hold_is_one_of_antonyms(build: Build) -> None:
    lexicon = build(
        "upload a black picture",
        limit=1,
        ppdb_synonyms="download upload\nblack dark\nblack white\n",
        ppdb_antonyms="upload download\n",
        wordnet_antonyms="white black\n",
    )
    assert lexicon.synonyms == {"black": ("dark",)}  # and no empty entry of "upload"
    assert lexicon.antonyms == {"upload": ("download",), "black": ("white",)}


@pytest.mark.parametrize("name", ["ppdb_synonyms", "ppdb_antonyms", "wordnet_antonyms"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("dog hound\ndog\n", "line 2 holds 1 words, allowed: 2"),
        ("a b c\n", "line 1 holds 3 words"),
        (b"dog hound\n\xff\xfe x\n", "line 2 is not UTF-8"),
    ],
)
def test_bad_line_is_named(build: Build, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=rf"{name}\.txt: {message}"):
        build("dog", **{name: content})


@pytest.mark.parametrize("name", WordPairs.raw_files)
def test_missing_file_is_named(tmp_path: Path, word_pairs: Callable[..., Path], name: str) -> None:
    folder = word_pairs(tmp_path)
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: file of word pairs is missing; import it by"):
        build_lexicon(folder, ["dog"], [], max_substitutes=1)


def test_a_file_is_no_folder_of_pairs(tmp_path: Path, word_pairs: Callable[..., Path]) -> None:
    path = word_pairs(tmp_path) / "ppdb_synonyms.txt"
    with pytest.raises(UserError, match=r"ppdb_synonyms.txt/ppdb_synonyms.txt: file of word pairs"):
        build_lexicon(path, ["dog"], [], max_substitutes=1)


def test_real_pairs(real_data: Path) -> None:
    captions = ["a woman rides a large bike up a hill", "download sisterly"]
    lexicon = build_lexicon(real_data / "lexicon", captions, [], max_substitutes=10)
    assert lexicon.synonyms["bike"] == ("bicycle", "bicycles")
    assert "a" not in lexicon.synonyms
    assert "small" in lexicon.antonyms["large"]
    assert {"upload", "uploading"} <= set(lexicon.antonyms["download"])  # the file's synonyms too
    assert "upload" not in lexicon.synonyms.get("download", ())
    for word, others in lexicon.synonyms.items():
        assert not set(others) & set(lexicon.antonyms.get(word, ()))
