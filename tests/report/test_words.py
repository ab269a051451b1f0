"""Threat models and numbers in words."""

from __future__ import annotations

import math

import pytest

from mmrobust.figures.notes import of_255
from mmrobust.report.strip import EDGE, WIDTH, claim_strip
from mmrobust.report.words import (
    check_words,
    count,
    decimal,
    duration,
    linked,
    percent,
    seeds,
)
from mmrobust.report.words import threat_model_words as words
from mmrobust.threat import ImageBudget, TextBudget, ThreatModel


@pytest.mark.parametrize(
    ("eps", "expected"),
    [
        (2 / 255, "2/255"),
        (0.007843137718737125, "2/255"),  # as a single-precision number
        (8 / 255, "8/255"),
        (0.0123, "3.14/255"),
        (0, "0/255"),
    ],
)
def test_a_pixel_budget_is_told_in_255ths(eps: float, expected: str) -> None:
    assert of_255(eps) == expected


def test_threat_models_are_told_by_modality() -> None:
    both = ThreatModel(image=ImageBudget(eps=2 / 255), text=TextBudget(words=2))
    assert words(both) == [
        "The attacker knows the model and its weights (white box).",
        "Every pixel value may change by at most 2/255 of its range (l-inf, eps = 2/255).",
        "At most 2 words of a caption may be replaced.",
        "A caption may become false of its image.",
    ]
    assert words(ThreatModel(text=TextBudget(words=1)))[1:] == [
        "Images stay untouched.",
        "At most 1 word of a caption may be replaced.",
        "A caption may become false of its image.",
    ]
    assert words(ThreatModel(image=ImageBudget(eps=8 / 255)))[2] == "Captions stay untouched."


def test_knowledge_and_tighter_budgets_are_told() -> None:
    transfer = ThreatModel(
        knowledge="transfer",
        source="standard",
        image=ImageBudget(norm="l2", eps=0.5),
        text=TextBudget(words=2, characters=1, keeps_truth=True),
    )
    assert words(transfer) == [
        "The attacker knows standard, on which the attack is crafted, and nothing of the model "
        "that it is used on (transfer).",
        "An image may move by at most 0.5 in all (l2 norm, pixel values from 0 to 1).",
        "At most 2 words of a caption may be replaced, by 1 character in all.",
        "A caption must stay true of its image.",
    ]
    query = ThreatModel(knowledge="query", image=ImageBudget(eps=2 / 255))
    assert words(query)[0] == (
        "The attacker sees the model's scores, not its weights or gradients (query)."
    )


def test_checks_are_told_by_their_kind() -> None:
    truth = {"value": 0.345, "low": 0.3, "high": 0.4, "n": 1000, "interval": "clopper_pearson"}
    assert check_words("captions_true", truth) == ("captions still true", "34.5 %")
    said = check_words("hard_negatives", truth)
    assert said is not None
    assert said[0].startswith("captions preferred to themselves with one word made wrong")
    assert said[1] == "34.5 %"
    assert check_words("standing", {"sga": 1200, "co_attack": 7}) == (
        "items still standing after each member",
        "SGA 1,200, Co-Attack 7",
    )
    assert check_words("zero_gradients", 0.125) == ("gradients that are exactly zero", "12.5 %")
    assert check_words("zero_gradients", None) is None
    largest = "largest change of an image"
    assert check_words("max_perturbation", 2 / 255) == (largest, "2/255")
    assert check_words("max_perturbation", 0.5, norm="l2") == (largest, "0.5")


def test_numbers_are_told_as_a_reader_expects() -> None:
    assert [percent(0.4871), percent(None), percent(math.nan)] == [
        "48.7",
        "\N{EN DASH}",
        "\N{EN DASH}",
    ]
    assert decimal(-0.008) == "\N{MINUS SIGN}0.0080"
    assert decimal(-math.inf) == "\N{MINUS SIGN}\N{INFINITY}"
    assert [seeds("0"), seeds("0 1 2")] == ["seed 0", "seeds 0, 1, 2"]
    assert check_words("mean_words_changed", 1.98467) == (
        "words changed in a caption, on average",
        "1.98",
    )
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


def test_a_strip_of_an_interval_without_a_lower_end_has_finite_numbers() -> None:
    claim = {"estimate": 0.9, "low": -math.inf, "high": 1.0, "margin": 0.75}
    strip = claim_strip(claim)
    assert strip is not None
    assert strip.unbounded
    assert 0 == strip.low < strip.zero < strip.margin < strip.estimate < strip.high
    bounded = claim_strip(claim | {"low": 0.8})
    assert bounded is not None
    assert not bounded.unbounded
