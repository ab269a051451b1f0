from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.attacks.conftest import LEXICON, WORDS, ToyEncoder, substitutes

from mmrobust.attacks.text_search import GreedyWordSubstitution, words_changed
from mmrobust.models.encoding import embed_captions
from mmrobust.threat import TextBudget

captions_strategy = st.lists(
    st.lists(st.sampled_from(WORDS[1:]), min_size=1, max_size=5).map(" ".join),
    min_size=1,
    max_size=4,
)


def guides(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 6, generator=generator), dim=-1)


def by_brute_force(model: ToyEncoder, caption: str, guide: torch.Tensor) -> float:
    """The highest value that one substitution, or none, can reach."""
    words = caption.split(" ")
    options = [caption]
    for position, word in enumerate(words):
        for other in LEXICON.get(word, []):
            options.append(" ".join([*words[:position], other, *words[position + 1 :]]))
    return max(-(model.encode_text([option])[0] @ guide).item() for option in options)


@settings(max_examples=60, deadline=None)
@given(captions=captions_strategy, seed=st.integers(0, 100))
def test_one_word_equals_brute_force(captions: list[str], seed: int) -> None:
    model = ToyEncoder(seed=seed).eval()
    guide = guides(len(captions), seed)
    found, embeddings = GreedyWordSubstitution()(
        model, captions, guide, budget=TextBudget(words=1), substitutes=substitutes
    )
    for before, after, towards in zip(captions, found, guide, strict=True):
        value = -(model.encode_text([after])[0] @ towards).item()
        assert value == pytest.approx(by_brute_force(model, before, towards), abs=1e-5)
        assert words_changed(before, after) <= 1
    torch.testing.assert_close(embeddings, embed_captions(model, found))


@settings(max_examples=60, deadline=None)
@given(captions=captions_strategy, words=st.integers(0, 3), seed=st.integers(0, 100))
def test_stays_in_budget_and_never_lowers_the_objective(
    captions: list[str], words: int, seed: int
) -> None:
    model = ToyEncoder(seed=seed).eval()
    guide = guides(len(captions), seed)
    values = []
    for budget in range(words + 1):
        found, embeddings = GreedyWordSubstitution()(
            model, captions, guide, budget=TextBudget(words=budget), substitutes=substitutes
        )
        values.append(-(embeddings * guide).sum(dim=1))
        for before, after in zip(captions, found, strict=True):
            assert words_changed(before, after) <= budget
            for old, new in zip(before.split(" "), after.split(" "), strict=True):
                assert new == old or new in LEXICON[old]
    for less, more in itertools.pairwise(values):
        assert bool((more >= less - 1e-6).all())


def test_no_words_is_the_identity(model: ToyEncoder) -> None:
    found, _ = GreedyWordSubstitution()(
        model, ["red ring"], guides(1, 0), budget=TextBudget(words=0), substitutes=substitutes
    )
    assert found == ["red ring"]


def test_captions_without_substitutes_stay(model: ToyEncoder) -> None:
    found, _ = GreedyWordSubstitution()(
        model, ["a star", "star"], guides(2, 0), budget=TextBudget(words=2), substitutes=substitutes
    )
    assert found == ["a star", "star"]


def test_a_batch_equals_its_captions_one_by_one(model: ToyEncoder) -> None:
    captions: Sequence[str] = ["a big red ring", "blue star", "red star", "a big red ring"]
    guide, search, budget = guides(4, 3), GreedyWordSubstitution(), TextBudget(words=2)
    together, _ = search(model, captions, guide, budget=budget, substitutes=substitutes)
    alone = [
        search(model, [caption], guide[i : i + 1], budget=budget, substitutes=substitutes)[0][0]
        for i, caption in enumerate(captions)
    ]
    assert together == alone


def test_each_distinct_row_is_encoded_once(model: ToyEncoder) -> None:
    guide = guides(3, 0)[[0, 0, 0]]
    GreedyWordSubstitution()(
        model, ["red ring"] * 3, guide, budget=TextBudget(words=1), substitutes=substitutes
    )
    assert model.rows_encoded == 1 + 2  # the caption; crimson ring and red hoop


def test_added_or_removed_words_are_refused() -> None:
    with pytest.raises(ValueError, match="number of words"):
        words_changed("a red ring", "a ring")
