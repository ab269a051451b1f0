"""The lexicon from synonym pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrobust.data.lexicon import build_lexicon
from mmrobust.errors import UserError


def build(tmp_path: Path, content: str | bytes, *captions: str, limit: int = 10) -> dict:
    path = tmp_path / "pairs.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return build_lexicon(path, [*captions, "canine seen in test"], captions, max_substitutes=limit)


def test_symmetric_and_for_caption_words_only(tmp_path: Path) -> None:
    lexicon = build(tmp_path, "Dog hound\r\nboat ship\n\ncanine dog\n", "a dog and a ship")
    assert lexicon == {
        "canine": ["dog"],
        "dog": ["canine", "hound"],
        "ship": ["boat"],
    }


def test_order_is_training_frequency_then_alphabet_and_the_cap_keeps_the_first(
    tmp_path: Path,
) -> None:
    pairs = "big huge\nbig large\nbig great\nbig bulky\n"
    captions = ("big large", "large huge", "large")
    assert build(tmp_path, pairs, *captions)["big"] == ["large", "huge", "bulky", "great"]
    assert build(tmp_path, pairs, *captions, limit=2)["big"] == ["large", "huge"]


def test_function_words_non_words_and_self_pairs_are_left_out(tmp_path: Path) -> None:
    pairs = "while whilst\nover finished\ndog dog\ndog k9\ndog four-legged\ndog hound\n"
    lexicon = build(tmp_path, pairs, "while over dog k9 finished")
    assert lexicon == {"dog": ["hound"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("dog hound\ndog\n", "line 2 holds 1 words, allowed: 2"),
        ("a b c\n", "line 1 holds 3 words"),
        (b"dog hound\n\xff\xfe x\n", "line 2 is not UTF-8"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=rf"pairs.txt: {message}"):
        build(tmp_path, content, "dog")


def test_real_pairs(tmp_path: Path, real_data: Path) -> None:
    pairs = real_data / "lexicon" / "ppdb_synonyms.txt"
    lexicon = build_lexicon(pairs, ["a woman rides a bike"], [], max_substitutes=10)
    assert lexicon["bike"] == ["bicycle", "bicycles"]
    assert "a" not in lexicon
