"""Text searches against walks that take one caption, one word and one candidate at a time."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmrobust.attacks.text_search import search as search_module
from mmrobust.attacks.text_search.base import Choices, Language, Value
from mmrobust.attacks.text_search.candidates import GrammarCandidates
from mmrobust.attacks.text_search.constraints import ShareOfWords, StaysTrue, StopWords
from mmrobust.attacks.text_search.importance import UnknownToken
from mmrobust.attacks.text_search.memory import TextMemory
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.errors import UserError
from mmrobust.threat import TextBudget

SYNONYMS = {"a": ("b", "c"), "b": ("a", "d", "e"), "d": ("f",), "e": ("a",), "the": ("a",)}
LETTERS = ("a", "b", "c", "d", "e", "f", "the")
LANGUAGE = Language(synonyms=SYNONYMS, stop_words=frozenset({"the"}))


class TableEncoder(torch.nn.Module):
    """A caption's embedding is a number that a hash has drawn: its value, whatever the words."""

    def __init__(self, seed: int, values: int = 97) -> None:
        super().__init__()
        self.seed, self.values = seed, values
        self.captions: list[str] = []
        self.device = torch.device("cpu")

    def of(self, caption: str) -> float:
        digest = hashlib.sha256(f"{self.seed} {caption}".encode()).digest()
        return float(int.from_bytes(digest[:4], "big") % self.values)

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        """The number of a caption, as one token."""
        self.captions += [c for c in captions if c not in self.captions]
        return torch.tensor([[1 + self.captions.index(caption)] for caption in captions])

    def encode_tokens(self, tokens: Tensor, embedded: Tensor | None = None) -> Tensor:
        return torch.tensor([[self.of(self.captions[row - 1])] for row in tokens[:, 0].tolist()])


class CutEncoder(TableEncoder):
    """Reads the first two words of a caption and no more."""

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        return super().tokenize([" ".join(caption.split(" ")[:2]) for caption in captions])


class GivenOrder:
    """Importance by a hash of the caption and the place."""

    uses_value = False

    def order(
        self,
        model: TableEncoder,
        captions: Sequence[str],
        choices: Sequence[Choices],
        embeddings: Tensor,
        value: Value,
    ) -> list[tuple[int, ...]]:
        return [given_order(model, c, found) for c, found in zip(captions, choices, strict=True)]


def given_order(model: TableEncoder, caption: str, choices: Choices) -> tuple[int, ...]:
    places = [place for place, others in enumerate(choices) if others]
    return tuple(sorted(places, key=lambda place: model.of(f"{place} of {caption}")))


def value(rows: Tensor, owner: Tensor) -> Tensor:
    return rows[:, 0]


def find(
    search: TextSearch,
    model: Any,
    captions: Sequence[str],
    budget: TextBudget,
    language: Language = LANGUAGE,
    images: Sequence[int] | None = None,
    of: Value = value,
) -> list[str]:
    images = list(range(len(captions))) if images is None else images
    memory = TextMemory(model)
    found, embeddings = search(
        memory, captions, of, budget=budget, images=images, language=language
    )
    assert torch.equal(embeddings, memory.embed(found))
    return found


@pytest.mark.parametrize(
    "search",
    [
        TextSearch(),
        TextSearch(importance=UnknownToken()),
        TextSearch(method="beam", beam_width=3),
        TextSearch(method="exhaustive"),
    ],
    ids=["rounds", "walk", "beam", "exhaustive"],
)
def test_a_change_that_is_not_read_is_not_made_for_a_rounded_value(search: TextSearch) -> None:
    """Here whatever is valued later has the higher value, as rounding may have it."""
    clock = itertools.count()

    def rising(rows: Tensor, owner: Tensor) -> Tensor:
        return torch.tensor([float(next(clock)) for _ in rows])

    captions = ["a b e d", "the the a e", "f f a"]
    found = find(search, CutEncoder(0), captions, TextBudget(words=3), of=rising)
    assert [caption.split(" ")[2:] for caption in found] == [["e", "d"], ["a", "e"], ["a"]]
    assert found[0] not in captions
    assert found[2] == "f f a"


def choices_of(caption: str) -> Choices:
    return tuple(SYNONYMS.get(word, ()) for word in caption.split(" "))


def replaced(caption: str, place: int, word: str) -> str:
    words = caption.split(" ")
    words[place] = word
    return " ".join(words)


def brute_force(caption: str, words: int) -> set[str]:
    """Every caption within the budget, by replacing any word by itself or by a candidate."""
    options = [(w, *SYNONYMS.get(w, ())) for w in caption.split(" ")]
    return {
        " ".join(picked)
        for picked in itertools.product(*options)
        if sum(a != b for a, b in zip(picked, caption.split(" "), strict=True)) <= words
    }


def slow_walk(model: TableEncoder, caption: str, words: int) -> str:
    """BERT-Attack's walk: words by importance, the best of keeping and replacing, until spent."""
    now, changes = caption, 0
    for place in given_order(model, caption, choices_of(caption)):
        if changes == words:
            break
        options = [now] + [replaced(now, place, other) for other in choices_of(caption)[place]]
        best = max(options, key=model.of)  # of equal ones the first
        changes += best != now
        now = best
    return now


def slow_rounds(model: TableEncoder, caption: str, words: int) -> str:
    """The best change of any word that is still the original, as long as it helps."""
    now = caption
    for _ in range(words):
        places = [p for p, w in enumerate(now.split(" ")) if w == caption.split(" ")[p]]
        options = [now] + [
            replaced(now, p, other) for p in places for other in choices_of(caption)[p]
        ]
        now = max(options, key=model.of)
    return now


def slow_beam(model: TableEncoder, caption: str, words: int, width: int) -> str:
    """The `width` best of those kept and of all their extensions, round by round."""
    beam = [caption]
    for _ in range(words):
        grown = [
            replaced(kept, place, other)
            for kept in beam
            for place, word in enumerate(caption.split(" "))
            if kept.split(" ")[place] == word
            and sum(a != b for a, b in zip(kept.split(" "), caption.split(" "), strict=True))
            < words
            for other in choices_of(caption)[place]
        ]
        beam = sorted(dict.fromkeys([*beam, *grown]), key=lambda c: -model.of(c))[:width]
    return beam[0]


@st.composite
def some_captions(draw: st.DrawFn) -> list[str]:
    """One to four captions of one to six words, as likely long as short."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return [" ".join(rng.choice(LETTERS, rng.integers(1, 7))) for _ in range(rng.integers(1, 5))]


captions_strategy = some_captions()
seeds, budgets = st.integers(0, 10_000), st.integers(0, 4)
many = settings(max_examples=60, deadline=None)


@many
@given(captions_strategy, budgets, seeds)
def test_exhaustive_equals_brute_force(captions: list[str], words: int, seed: int) -> None:
    model = TableEncoder(seed)
    found = find(TextSearch(method="exhaustive"), model, captions, TextBudget(words=words))
    for before, after in zip(captions, found, strict=True):
        within = brute_force(before, words)
        assert after in within
        assert model.of(after) == max(map(model.of, within))


@many
@given(captions_strategy, budgets, seeds, st.integers(1, 5), st.sampled_from([3, 1_000_003]))
def test_beams_stand_between_greedy_and_exhaustive(
    captions: list[str], words: int, seed: int, width: int, values: int
) -> None:
    model = TableEncoder(seed, values)
    budget = TextBudget(words=words)
    beam = find(TextSearch(method="beam", beam_width=width), model, captions, budget)
    every = find(TextSearch(method="exhaustive"), model, captions, budget)
    greedy = find(TextSearch(), model, captions, budget)
    for before, narrow, wide, best in zip(captions, greedy, beam, every, strict=True):
        assert wide == slow_beam(model, before, words, width)
        assert model.of(wide) <= model.of(best)
        if width == 1:
            assert wide == narrow
        if words <= 2:  # of three rounds, the second may lose what the third would need
            assert model.of(narrow) <= model.of(wide)


@many
@given(captions_strategy, budgets, seeds)
def test_a_wide_beam_is_exhaustive(captions: list[str], words: int, seed: int) -> None:
    model = TableEncoder(seed, values=1_000_003)
    budget = TextBudget(words=words)
    wide = TextSearch(method="beam", beam_width=10_000)
    every = TextSearch(method="exhaustive")
    assert find(wide, model, captions, budget) == find(every, model, captions, budget)


@many
@given(captions_strategy, budgets, seeds, st.sampled_from([2, 97]))
def test_greedy_by_importance_equals_a_slow_walk(
    captions: list[str], words: int, seed: int, values: int
) -> None:
    """With two values most candidates tie: keeping wins, then the order of candidates."""
    model = TableEncoder(seed, values)
    search = TextSearch(importance=GivenOrder())  # type: ignore[arg-type]
    found = find(search, model, captions, TextBudget(words=words))
    assert found == [slow_walk(model, caption, words) for caption in captions]


@many
@given(captions_strategy, budgets, seeds, st.sampled_from([2, 97]))
def test_rounds_equal_a_slow_greedy(
    captions: list[str], words: int, seed: int, values: int
) -> None:
    model = TableEncoder(seed, values)
    found = find(TextSearch(), model, captions, TextBudget(words=words))
    assert found == [slow_rounds(model, caption, words) for caption in captions]


def test_long_searches_equal_slow_ones() -> None:
    """Six words and five changes: a word once replaced is not replaced again."""
    beam, walk = TextSearch(method="beam", beam_width=2), TextSearch(importance=GivenOrder())  # type: ignore[arg-type]
    for seed in range(60):
        rng, model = np.random.default_rng(seed), TableEncoder(seed)
        captions = [" ".join(rng.choice(LETTERS[:5], 6)) for _ in range(4)]
        budget = TextBudget(words=5)
        slow = [
            [slow_rounds(model, caption, 5) for caption in captions],
            [slow_walk(model, caption, 5) for caption in captions],
            [slow_beam(model, caption, 5, 2) for caption in captions],
        ]
        assert [find(s, model, captions, budget) for s in (TextSearch(), walk, beam)] == slow


SEARCHES: dict[str, Callable[..., TextSearch]] = {
    "rounds": TextSearch,
    "walk": lambda **of: TextSearch(importance=GivenOrder(), **of),  # type: ignore[arg-type]
    "beam": lambda **of: TextSearch(method="beam", beam_width=3, **of),
    "beam_walk": lambda **of: TextSearch(method="beam", importance=GivenOrder(), **of),  # type: ignore[arg-type]
    "exhaustive": lambda **of: TextSearch(method="exhaustive", **of),
}


@pytest.mark.parametrize("name", SEARCHES)
@settings(max_examples=30, deadline=None)
@given(captions=captions_strategy, words=st.integers(0, 4), seed=seeds)
def test_outcomes_are_allowed_and_no_worse(
    name: str, captions: list[str], words: int, seed: int
) -> None:
    model = TableEncoder(seed)
    budget = TextBudget(words=words, characters=3)
    search = SEARCHES[name](constraints=(StopWords(), ShareOfWords(max_share=0.5)))
    for before, after in zip(captions, find(search, model, captions, budget), strict=True):
        pairs = list(zip(before.split(" "), after.split(" "), strict=True))
        changed = [pair for pair in pairs if pair[0] != pair[1]]
        assert len(changed) <= min(words, max(1, len(pairs) // 2), 3)
        assert all(new in SYNONYMS[old] and "the" not in (old, new) for old, new in changed)
        assert model.of(after) >= model.of(before)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_budget_in_characters_bites(name: str) -> None:
    language = Language(synonyms={"red": ("crimson", "rod"), "big": ("huge", "bag")})
    captions, rising = ["a big red ring"], lambda rows, owner: rows[:, 0]
    for characters, reachable in [
        (0, {"a big red ring"}),
        (1, {"a bag red ring", "a big rod ring"}),
    ]:
        found = {
            find(SEARCHES[name](), TableEncoder(seed), captions,
                 TextBudget(words=2, characters=characters), language, of=rising)[0]
            for seed in range(40)
        }  # fmt: skip
        assert found - {"a big red ring"} == reachable - {"a big red ring"}


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("as_constraint", [False, True])
def test_truth_is_kept(name: str, as_constraint: bool) -> None:
    """Image 7 is all but "f"; "a" and "b" alternate freely, and each caption has its own image."""
    asked: list[tuple[str, int]] = []

    def is_true(captions: Sequence[str], images: Sequence[int]) -> Any:
        asked.extend(zip(captions, images, strict=True))
        return torch.tensor(
            ["f" not in c if image == 7 else "c" not in c
             for c, image in zip(captions, images, strict=True)]
        ).numpy()  # fmt: skip

    language = Language(synonyms=SYNONYMS, is_true=is_true)
    captions = ["a d a", "a d a"]
    search = SEARCHES[name](constraints=(StaysTrue(),) if as_constraint else ())
    budget = TextBudget(words=2, keeps_truth=not as_constraint)
    outcomes = [
        find(search, TableEncoder(seed), captions, budget, language, images=[7, 3])
        for seed in range(30)
    ]
    assert not any("f" in seven or "c" in three for seven, three in outcomes)
    assert any("c" in seven for seven, _ in outcomes)
    assert any("f" in three for _, three in outcomes)
    assert {image for _, image in asked} == {3, 7}


def test_alternatives_come_from_where_they_are_asked() -> None:
    language = Language(synonyms={"a": ("b",)}, alternatives={"a": ("c",)})
    found = {
        find(TextSearch(candidates=GrammarCandidates()), TableEncoder(seed), ["a"],
             TextBudget(words=1), language)[0]
        for seed in range(20)
    }  # fmt: skip
    assert found == {"a", "c"}


@pytest.mark.parametrize("name", SEARCHES)
def test_blocks_do_not_change_the_outcome(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    captions = ["a b d", "b b", "f", "e the a", "a b d", "d d d d", "b a"]
    turned = torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0, 1.0, 1.0])  # owners count over all blocks

    def outcome() -> list[str]:
        return find(
            SEARCHES[name](), TableEncoder(5), captions, TextBudget(words=2),
            of=lambda rows, owner: rows[:, 0] * turned[owner],
        )  # fmt: skip

    whole = outcome()
    assert whole[0] != whole[4]  # the same caption, with another value
    monkeypatch.setattr(search_module, "CAPTIONS_AT_ONCE", 2)
    monkeypatch.setattr(search_module, "ROWS_AT_ONCE", 3)
    assert outcome() == whole


def test_an_exhaustive_search_that_would_not_end_is_refused() -> None:
    search = TextSearch(method="exhaustive", max_combinations=17)
    # "b" has 3 candidates: of three words 9 single and 27 double changes.
    with pytest.raises(
        UserError, match="'b b b' has 36 combinations of 2 substitutions"
    ) as refused:
        find(search, TableEncoder(0), ["b b b"], TextBudget(words=2))
    assert "\n" not in str(refused.value)
    find(search, TableEncoder(0), ["b b b"], TextBudget(words=1))
    assert len(brute_force("b b b", 2)) == 1 + 36


def test_an_exhaustive_search_has_no_order() -> None:
    with pytest.raises(UserError, match="takes no `importance`"):
        TextSearch(method="exhaustive", importance=UnknownToken())
