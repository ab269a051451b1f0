from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from tests.attacks.text_search.conftest import TableMaskedLM

from mmrobust.attacks.text_search.base import Language
from mmrobust.attacks.text_search.constraints import (
    Antonyms,
    CaptionConstraint,
    Constraint,
    NewWords,
    NoSubwords,
    ShareOfCharacters,
    ShareOfWords,
    Similarity,
    StaysTrue,
    StopWords,
    WordConstraint,
    admissible,
    kept,
)
from mmrobust.errors import UserError

WORDS = ("a", "the", "man", "dog", "cat", "red")
LANGUAGE = Language(
    synonyms={"big": ("huge",)},
    alternatives={"red": ("blue",)},
    antonyms={"hot": ("cold",)},
    stop_words=frozenset({"a", "the"}),
)


@pytest.mark.parametrize(
    ("constraint", "word", "substitute", "allowed"),
    [
        (StopWords(), "big", "huge", True),
        (StopWords(), "a", "big", False),
        (StopWords(), "big", "the", False),
        (NoSubwords(), "run", "play", True),
        (NoSubwords(), "run", "##ing", False),
        (NoSubwords(), "run", "play##ing", False),
        (Antonyms(), "hot", "warm", True),
        (Antonyms(), "hot", "cold", False),
        (Antonyms(), "cold", "hot", False),
        (NewWords(), "big", "bigg", True),
        (NewWords(), "hug", "huge", False),
        (NewWords(), "bag", "big", False),
        (NewWords(), "blues", "blue", False),
        (NewWords(), "rod", "red", False),
        (NewWords(), "cord", "cold", False),
        (NewWords(), "he", "the", False),
    ],
)
def test_constraints_on_words(
    constraint: WordConstraint, word: str, substitute: str, allowed: bool
) -> None:
    assert constraint.rule(LANGUAGE)(word, substitute) is allowed


def test_admissible_filters_each_word_by_all_constraints_and_keeps_the_order() -> None:
    captions = ["a hot red star", "the", "hot"]
    choices = [
        (("the", "one"), ("cold", "##y", "warm", "boiling"), ("blue", "a", "ruby"), ()),
        (("a", "these"),),
        (("warm",),),
    ]
    every: list[WordConstraint | CaptionConstraint] = [
        ShareOfWords(max_share=0.0), StopWords(), NoSubwords(), Antonyms()
    ]  # fmt: skip
    assert admissible(choices, captions, every, LANGUAGE) == [
        ((), ("warm", "boiling"), ("blue", "ruby"), ()),
        ((),),
        (("warm",),),
    ]
    assert admissible(choices, captions, [], LANGUAGE) == choices


def test_share_of_words_rounds_down_but_leaves_one() -> None:
    half = ShareOfWords(max_share=0.5)
    originals = ["a b c d e", "a b c d e", "a", "a b"]
    perturbed = ["x x c d e", "x x x d e", "x", "x x"]
    assert half.allows_all(originals, perturbed, [0] * 4, Language()) == [True, False, True, False]
    none = ShareOfWords(max_share=0)
    assert none.allows_all(["a b", "a b"], ["a x", "x x"], [0, 0], Language()) == [True, False]


def test_shares_are_reckoned_as_written() -> None:
    # 0.29 * 100 is 28.999... in binary
    words = " ".join(["a"] * 100)
    for changed, allowed in ((29, True), (30, False)):
        text = " ".join(["b"] * changed + ["a"] * (100 - changed))
        assert ShareOfWords(max_share=0.29).allows_all([words], [text], [0], Language()) == [
            allowed
        ]
        text = "b" * changed + "a" * (100 - changed)
        found = ShareOfCharacters(max_share=0.29).allows_all(["a" * 100], [text], [0], Language())
        assert found == [allowed]


def test_share_of_characters_counts_edits_and_rounds_down() -> None:
    quarter = ShareOfCharacters(max_share=0.25)  # of 7 characters: 1
    originals = ["red dog"] * 4
    perturbed = ["red dog", "red dogs", "red dg", "bad dog"]
    assert quarter.allows_all(originals, perturbed, [0] * 4, Language()) == [
        True,
        True,
        True,
        False,
    ]


def test_similarity_is_the_cosine_of_embeddings(masked_lm: TableMaskedLM) -> None:
    originals = ["a man", "a man", "the dog", "a man"]
    perturbed = ["a dog", "a man", "the cat", "the man"]
    vectors = masked_lm.embed(originals).double(), masked_lm.embed(perturbed).double()
    cosines = [float(a @ b) for a, b in zip(*vectors, strict=True)]
    assert len({round(c, 3) for c in cosines}) == 4
    masked_lm.embedded.clear()
    language = Language(masked_lm=masked_lm)
    for threshold in (-1.0, *(c + d for c in cosines[::2] for d in (-1e-3, 1e-3)), 1.0):
        found = Similarity(min_cosine=threshold).allows_all(originals, perturbed, [0] * 4, language)
        assert found == [c >= threshold or text == "a man" for c, text in zip(
            cosines, perturbed, strict=True)]  # fmt: skip
        assert sorted(masked_lm.embedded) == sorted({*originals, *perturbed})
        masked_lm.embedded.clear()


def test_an_unchanged_caption_is_similar_whatever_the_rounding(masked_lm: TableMaskedLM) -> None:
    captions = [f"{a} {b} {c}" for a in WORDS for b in WORDS for c in WORDS]
    vectors = masked_lm.embed(captions)
    assert bool(((vectors * vectors).sum(dim=1) < 1).any())
    found = Similarity(min_cosine=1.0).allows_all(
        captions, captions, [0] * len(captions), Language(masked_lm=masked_lm)
    )
    assert all(found)


def only_red_ones(captions: Sequence[str], images: Sequence[int]) -> NDArray[np.bool_]:
    return np.array(["red" in c and i > 0 for c, i in zip(captions, images, strict=True)])


def test_truth_asks_the_world_of_the_perturbed_caption_and_its_image() -> None:
    found = StaysTrue().allows_all(
        ["a dog"] * 3, ["red dog", "a dog", "red dog"], [1, 1, 0], Language(is_true=only_red_ones)
    )
    assert found == [True, False, False]


@pytest.mark.parametrize("constraint", [StaysTrue(), Similarity(min_cosine=0.5)])
def test_constraints_that_need_what_is_not_there_say_so(constraint: CaptionConstraint) -> None:
    with pytest.raises(UserError):
        constraint.allows_all(["a"], ["b"], [0], Language())


def test_kept_is_all_constraints_together_and_asks_the_later_ones_less(
    masked_lm: TableMaskedLM,
) -> None:
    asked: list[tuple[str, int]] = []

    def is_true(captions: Sequence[str], images: Sequence[int]) -> NDArray[np.bool_]:
        asked.extend(zip(captions, images, strict=True))
        return only_red_ones(captions, images)

    originals = ["a red dog", "a red dog", "a red cat", "a man"]
    perturbed = ["the red cat", "a red cat", "a red man", "a dog"]
    constraints: list[WordConstraint | CaptionConstraint] = [
        StopWords(), ShareOfWords(max_share=0.4), StaysTrue()
    ]  # fmt: skip
    language = Language(is_true=is_true, stop_words=frozenset({"a"}))
    assert kept(originals, perturbed, [1, 1, 0, 2], constraints, language) == [
        False,
        True,
        False,
        False,
    ]
    assert asked == [("a red cat", 1), ("a red man", 0), ("a dog", 2)]
    assert kept(originals, perturbed, [1, 1, 0, 2], [], language) == [True] * 4
    assert kept([], [], [], constraints, language) == []

    changed_too_much = ShareOfWords(max_share=0.0), Similarity(min_cosine=-1.0)
    language = Language(masked_lm=masked_lm)
    assert kept(["a man"], ["the dog"], [0], changed_too_much, language) == [False]
    assert masked_lm.embedded == []


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"kind": "stop_words"}, StopWords()),
        ({"kind": "no_subwords"}, NoSubwords()),
        ({"kind": "antonyms"}, Antonyms()),
        ({"kind": "new_words"}, NewWords()),
        ({"kind": "truth"}, StaysTrue()),
        ({"kind": "similarity", "min_cosine": -0.5}, Similarity(min_cosine=-0.5)),
        ({"kind": "share_of_words", "max_share": 0.4}, ShareOfWords(max_share=0.4)),
        ({"kind": "share_of_characters", "max_share": 1}, ShareOfCharacters(max_share=1.0)),
    ],
)
def test_sections_build_constraints(section: dict[str, object], expected: object) -> None:
    assert TypeAdapter(Constraint).validate_python(section) == expected


@pytest.mark.parametrize(
    "section",
    [
        {"kind": "grammar"},
        {"kind": "similarity"},
        {"kind": "similarity", "min_cosine": 1.5},
        {"kind": "share_of_words", "max_share": 2},
        {"kind": "truth", "max_share": 0.5},
    ],
)
def test_other_sections_are_refused(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Constraint).validate_python(section)
