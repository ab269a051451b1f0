from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from mmrobust.attacks.text_search.levenshtein import ALPHABET, edited, levenshtein_search

CAPTIONS = ["a red ring", "on blue", "x"]


def value(texts: Sequence[str], owner: Tensor) -> Tensor:
    """Some smooth function of a text, another one for each caption."""
    rows = [
        sum(((at + 1) * (3 + int(of)) * ord(letter)) % 97 for at, letter in enumerate(text))
        for text, of in zip(texts, owner, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float64)


def search(captions: Sequence[str] = CAPTIONS, seed: int = 0, **options: object) -> list[str]:
    settings = {"distance": 1, "rho": 5, "known": None, **options}
    generator = torch.Generator().manual_seed(seed)
    return levenshtein_search(captions, value, generator=generator, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("place", "character", "expected"),
    [
        pytest.param(0, "z", "zab", id="before"),
        pytest.param(2, "z", "azb", id="between"),
        pytest.param(4, "z", "abz", id="behind"),
        pytest.param(1, "z", "zb", id="replaced"),
        pytest.param(3, "b", "a", id="the same is taken out"),
        pytest.param(3, "", "a", id="taken out"),
        pytest.param(2, "", "ab", id="nothing put in"),
    ],
)
def test_one_edit(place: int, character: str, expected: str) -> None:
    assert edited("ab", place, character) == expected


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_captions_stay_within_the_distance(distance: int) -> None:
    found = search(distance=distance)
    moved = [Levenshtein.distance(*pair) for pair in zip(CAPTIONS, found, strict=True)]
    assert max(moved) <= distance
    assert max(moved) > distance - 1


def test_with_all_places_and_characters_it_is_the_search_of_the_paper() -> None:
    """The place where a space does best, then the best character there; keeping comes first."""
    found = search(rho=1000)
    for number, (caption, text) in enumerate(zip(CAPTIONS, found, strict=True)):
        owner = torch.tensor([number])

        def score(changed: str, owner: Tensor = owner) -> float:
            return float(value([changed], owner))

        places = range(2 * len(caption) + 1)
        at = max(score(edited(caption, place, " ")) for place in places)
        best_places = [place for place in places if score(edited(caption, place, " ")) == at]
        best = {
            max(score(caption), *(score(edited(caption, place, letter)) for letter in ALPHABET))
            for place in best_places
        }
        assert score(text) in best


def test_the_value_never_falls() -> None:
    for seed in range(20):
        found = search(seed=seed, rho=2)
        owner = torch.arange(len(CAPTIONS))
        assert (value(found, owner) >= value(CAPTIONS, owner)).all()


def test_an_edit_must_break_a_known_word() -> None:
    known = {"red", "ring", "rings", "blue", "on"}
    for seed in range(20):
        for caption, text in zip(CAPTIONS, search(seed=seed, known=known), strict=True):
            fewer = len(known & set(text.split())) < len(known & set(caption.split()))
            assert text == caption or fewer
    assert search(known=set()) == CAPTIONS
    assert search(known=known) != CAPTIONS


def test_captions_depend_on_the_generator_alone() -> None:
    assert search(seed=1) == search(seed=1)
    assert len({tuple(search(seed=seed)) for seed in range(5)}) > 1
