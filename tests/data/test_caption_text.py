"""Normalised captions."""

from __future__ import annotations

import pytest

from mmrobust.data.caption_text import MAX_WORDS, normalise_caption


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A black dog and a tri-colored dog .", "a black dog and a tri colored dog"),
        ('The man\'s shirt says " Go ! "', "the mans shirt says go"),
        ("red/white ball & a #3 (blue) \u201ccap\u201d", "red white ball a 3 blue cap"),
        ("a\u2013b \u2014 c\\d", "a b c d"),
        ("  Un  CAF\u00c9\t", "un caf\u00e9"),
        (" . , - !", ""),
        ("w " * 40, " ".join(["w"] * MAX_WORDS)),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise_caption(text) == expected
    assert normalise_caption(expected) == expected
