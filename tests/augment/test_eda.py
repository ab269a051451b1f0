from __future__ import annotations

import math
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.augment.conftest import Augment

from mmrobust.augment.base import Source, Sources
from mmrobust.augment.chunks import build_augmenter
from mmrobust.augment.eda import EDA, delete_words, insert_words, replace_words, swap_words
from mmrobust.data.prepared import Lexicon, Split
from mmrobust.errors import UserError

LEXICON = Lexicon(
    synonyms={
        "dog": ("hound", "puppy"),
        "runs": ("races",),
        "big": ("large", "huge", "great"),
        "on": ("upon",),
    },
    alternatives={},
    antonyms={},
    stop_words=frozenset({"a", "the", "on"}),
)
WORDS = ["a", "the", "on", "dog", "runs", "big", "grass", "blue"]
REPLACED = {"dog", "runs", "big"}

captions = st.lists(st.sampled_from(WORDS), min_size=1, max_size=30)
different_words = st.integers(1, 30).map(lambda n: [f"w{place}" for place in range(n)])
alphas = st.floats(0, 1)
seeds = st.integers(0, 2**32)


def synonyms(word: str) -> tuple[str, ...]:
    return () if word in LEXICON.stop_words else LEXICON.synonyms.get(word, ())


def source(texts: list[str]) -> Source:
    n = len(texts)
    split = Split(
        images=np.zeros((n, 1, 1, 3), np.uint8),
        captions=texts,
        caption_image=np.arange(n),
        positives=sp.csr_array(sp.eye_array(n, dtype=bool, format="csr")),
    )
    return Source(split=split, lexicon=LEXICON, dataset={}, data_seed=0, device="cpu")


def made(eda: EDA, texts: list[str], seed: int = 0) -> list[list[str]]:
    """The words of each caption after one pass over all of them."""
    rows = np.arange(len(texts))
    found = eda.open(source(texts))(Sources(rows, rows, 0), np.random.default_rng(seed))
    return [text.split(" ") for text in found.values]


def only(operation: str, words: list[str], alpha: float, seed: int) -> tuple[int, list[str]]:
    """How many words are to change, and the caption after this operation."""
    eda = build_augmenter({"method": "eda", "operations": [operation], "alpha": alpha})
    assert isinstance(eda, EDA)
    return max(1, math.floor(alpha * len(words))), made(eda, [" ".join(words)], seed)[0]


@settings(max_examples=60, deadline=None)
@given(captions, alphas, seeds)
def test_replace_changes_n_words_or_all_that_have_synonyms(
    words: list[str], alpha: float, seed: int
) -> None:
    n, after = only("replace", words, alpha, seed)
    changed = [(old, new) for old, new in zip(words, after, strict=True) if old != new]
    assert len(changed) == min(n, sum(word in REPLACED for word in words))
    assert all(new in LEXICON.synonyms[old] for old, new in changed)
    assert not LEXICON.stop_words & {old for old, _ in changed}


@settings(max_examples=60, deadline=None)
@given(captions, alphas, seeds)
def test_insert_adds_n_synonyms_of_words_that_are_there(
    words: list[str], alpha: float, seed: int
) -> None:
    n, after = only("insert", words, alpha, seed)
    known = REPLACED & set(words)
    assert len(after) == len(words) + (n if known else 0)
    added = Counter(after) - Counter(words)
    assert set(added) <= {other for word in known for other in LEXICON.synonyms[word]}
    rest = iter(after)
    assert all(word in rest for word in words)  # what was there stands in its order


@settings(max_examples=60, deadline=None)
@given(different_words, alphas, seeds)
def test_swap_swaps_n_times(words: list[str], alpha: float, seed: int) -> None:
    n, after = only("swap", words, alpha, seed)
    assert sorted(after) == sorted(words)
    if len(words) == 1:
        return
    places = [words.index(word) for word in after]
    cycles, seen = 0, set()
    for start in range(len(places)):
        cycles += start not in seen
        while start not in seen:
            seen.add(start)
            start = places[start]
    swaps_needed = len(words) - cycles
    assert swaps_needed <= n
    assert (swaps_needed - n) % 2 == 0
    assert n > 1 or swaps_needed == 1


@settings(max_examples=60, deadline=None)
@given(captions, seeds)
def test_one_swap_exchanges_two_different_words(words: list[str], seed: int) -> None:
    _, after = only("swap", words, 0.0, seed)
    places = [place for place, word in enumerate(words) if word != after[place]]
    if len(set(words)) == 1:
        assert after == words
    else:
        one, other = places
        assert (after[one], after[other]) == (words[other], words[one])


@settings(max_examples=60, deadline=None)
@given(different_words, alphas, seeds)
def test_delete_takes_n_words_out_but_never_all(words: list[str], alpha: float, seed: int) -> None:
    n, after = only("delete", words, alpha, seed)
    assert len(after) == max(1, len(words) - n)
    rest = iter(words)
    assert all(word in rest for word in after)


def test_every_place_and_every_synonym_is_drawn_equally_often() -> None:
    words, rng, n = ["big", "dog", "runs"], np.random.default_rng(0), 6000

    def shares(drawn: list[Any]) -> dict[Any, float]:
        return {key: count / n for key, count in Counter(drawn).items()}

    replaced = shares([" ".join(replace_words(words, 1, synonyms, rng)) for _ in range(n)])
    expected = {f"{other} dog runs": 1 / 9 for other in LEXICON.synonyms["big"]}
    expected |= {f"big {other} runs": 1 / 6 for other in LEXICON.synonyms["dog"]}
    assert replaced == pytest.approx(expected | {"big dog races": 1 / 3}, abs=0.02)
    deleted = shares([" ".join(delete_words(words, 1, synonyms, rng)) for _ in range(n)])
    assert deleted == pytest.approx(dict.fromkeys(["big dog", "big runs", "dog runs"], 1 / 3), 0.1)
    swapped = shares([" ".join(swap_words(words, 1, synonyms, rng)) for _ in range(n)])
    every = ["dog big runs", "runs dog big", "big runs dog"]
    assert swapped == pytest.approx(dict.fromkeys(every, 1 / 3), 0.1)
    inserted = [insert_words(["grass", "dog"], 1, synonyms, rng) for _ in range(n)]
    places = shares(
        [
            (words.index(new), new)
            for words in inserted
            for new in set(words[:3]) & {"hound", "puppy"}
        ]
    )
    every_place = [(place, new) for place in range(3) for new in ("hound", "puppy")]
    assert places == pytest.approx(dict.fromkeys(every_place, 1 / 6), abs=0.02)


def test_each_caption_gets_one_of_the_operations() -> None:
    def operation(after: list[str]) -> str:
        if len(after) != 3:
            return "insert" if len(after) == 4 else "delete"
        return "swap" if sorted(after) == sorted(words) else "replace"

    words = ["big", "dog", "runs"]
    n = 4000
    found = Counter(map(operation, made(EDA(), [" ".join(words)] * n)))
    four = ["replace", "insert", "swap", "delete"]
    assert found == pytest.approx(dict.fromkeys(four, n / 4), rel=0.1)
    two = Counter(map(operation, made(EDA(operations=("swap", "delete")), ["big dog runs"] * n)))
    assert two == pytest.approx({"swap": n / 2, "delete": n / 2}, rel=0.1)


def test_draws_come_from_the_generator_alone() -> None:
    texts = ["the big dog runs on blue grass", "a dog", "grass"] * 40
    assert made(EDA(alpha=0.4), texts, 1) == made(EDA(alpha=0.4), texts, 1)
    assert made(EDA(alpha=0.4), texts, 1) != made(EDA(alpha=0.4), texts, 2)


def test_synonyms_of_scenes_keep_captions_true(augment: Augment) -> None:
    made = augment("eda", operations=["replace"])
    assert made.items["changed"].all()
    assert (made.items["true"] == 1).all()
    assert not (augment("eda", operations=["swap"]).items["true"] == 1).all()


def test_repeated_and_unknown_operations_are_told() -> None:
    with pytest.raises(UserError, match=r"eda: operations: must be distinct \(got swap, swap\)"):
        build_augmenter({"method": "eda", "operations": ["swap", "swap"]})
    with pytest.raises(UserError, match=r"augmentations\.eda\.operations\.0"):
        build_augmenter({"method": "eda", "operations": ["shuffle"]})
    with pytest.raises(UserError, match=r"augmentations\.eda\.operations"):
        build_augmenter({"method": "eda", "operations": []})


def test_wordnet_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wn", None)
    with pytest.raises(UserError, match="'wordnet' needs the library wn") as error:
        EDA(synonyms="wordnet").open(source(["a dog"]))
    assert "pip install -e '.[wordnet]'" in str(error.value)
    assert "python -m wn download oewn:2024" in str(error.value)
