"""Threat models and numbers in words."""

from __future__ import annotations

import math

import pytest

from mmrobust.report.strip import EDGE, WIDTH, claim_strip
from mmrobust.report.words import count, decimal, duration, linked, of_255, percent
from mmrobust.report.words import threat_model_words as words


@pytest.mark.parametrize(
    ("eps", "expected"),
    [
        ("2/255", "2/255"),
        (2 / 255, "2/255"),
        (0.007843137718737125, "2/255"),  # as a single-precision number
        (8 / 255, "8/255"),
        (0.0123, "3.14/255"),
        (0, "0/255"),
    ],
)
def test_a_pixel_budget_is_told_in_255ths(eps: float | str, expected: str) -> None:
    assert of_255(eps) == expected


def test_threat_models_are_told_by_modality() -> None:
    both = {
        "knowledge": "white_box",
        "image": {"norm": "linf", "eps": 2 / 255},
        "text": {"words": 2},
    }
    assert words(both) == [
        "The attacker knows the model and its weights (white box).",
        "Every pixel value may change by at most 2/255 of its range (l-inf, eps = 2/255).",
        "At most 2 words of a caption may be replaced.",
    ]
    assert words({"knowledge": "transfer", "image": None})[1:] == [
        "Images stay untouched.",
        "Captions stay untouched.",
    ]
    assert words({"image": {"eps": "2/255"}})[:2] == words(both)[:2]  # what is left out is default
    other = {"knowledge": "oracle", "image": {"norm": "l0", "eps": "9"}, "text": {"chars": 3}}
    assert words(other) == [
        "Knowledge: oracle.",
        "Image budget: norm l0, eps 9.",
        "Text budget: chars 3.",
    ]


def test_numbers_are_told_as_a_reader_expects() -> None:
    assert [percent(0.4871), percent(None), percent(math.nan)] == [
        "48.7",
        "\N{EN DASH}",
        "\N{EN DASH}",
    ]
    assert decimal(-0.008) == "\N{MINUS SIGN}0.0080"
    assert [count(2000), count("10000"), count(2000.0), count("0, 1"), count("")] == [
        "2,000",
        "10,000",
        "2,000",
        "0, 1",
        "\N{EN DASH}",
    ]
    assert [duration(s) for s in (0.4, 59.6, 75, 3725)] == [
        "0 s",
        "1 min 0 s",
        "1 min 15 s",
        "1 h 2 min",
    ]


def test_only_web_addresses_become_links() -> None:
    assert linked("see https://example.org/a, or javascript:x") == [
        ("see ", False),
        ("https://example.org/a", True),
        (", or javascript:x", False),
    ]
    assert linked("") == []


def test_a_strip_keeps_the_order_of_its_numbers() -> None:
    claim = {"estimate": 0.25, "low": 0.2, "high": 0.3, "margin": 0.1}
    strip = claim_strip(claim)
    assert strip is not None
    assert EDGE == strip.zero < strip.margin < strip.low < strip.estimate < strip.high
    assert strip.high == WIDTH - EDGE
    assert claim_strip(claim | {"low": None}) is None
    flat = claim_strip({"estimate": 0.0, "low": 0.0, "high": 0.0, "margin": 0.0})
    assert flat is not None
    assert flat.low == flat.high == flat.zero
