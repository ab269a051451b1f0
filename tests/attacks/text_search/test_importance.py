from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tests.attacks.text_search.conftest import SpelledEncoder
from torch import Tensor

from mmrobust.attacks.text_search import importance
from mmrobust.attacks.text_search.base import Choices, Value
from mmrobust.attacks.text_search.importance import Gradient, Importance, UnknownToken
from mmrobust.models.encoding import embed_captions

WORDS = ["a", "red", "été", "elephant", "star", "x", "surfing"]
captions_strategy = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join), min_size=1, max_size=4
)


def some_choices(captions: Sequence[str], *, without: str) -> list[Choices]:
    return [
        tuple(() if word == without else ("other",) for word in caption.split(" "))
        for caption in captions
    ]


def away_from(captions: Sequence[str], seed: int, dtype: torch.dtype = torch.float32) -> Value:
    generator = torch.Generator().manual_seed(seed)
    guides = torch.randn(len(captions), 6, generator=generator).to(dtype)
    return lambda embeddings, owner: -(embeddings * guides[owner]).sum(dim=1)


def by_score(positions: list[int], scores: dict[int, float]) -> tuple[int, ...]:
    return tuple(sorted(positions, key=lambda i: (-scores[i], i)))


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def divergence(model: SpelledEncoder, caption: str, position: int) -> float:
    """KL(p || q) by hand, one caption at a time."""
    words = caption.split(" ")
    words[position] = "[UNK]"
    p = softmax(model.encode_text([caption])[0].tolist())
    q = softmax(model.encode_text([" ".join(words)])[0].tolist())
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@settings(max_examples=50, deadline=None)
@given(captions=captions_strategy, seed=st.integers(0, 50))
def test_unknown_token_equals_divergence_by_hand(captions: list[str], seed: int) -> None:
    model = SpelledEncoder(seed=seed, context=30)
    model.places.data.zero_()
    found = UnknownToken().order(
        model,
        captions,
        some_choices(captions, without="a"),
        embed_captions(model, captions),
        away_from(captions, seed),
    )
    for caption, order in zip(captions, found, strict=True):
        words = caption.split(" ")
        assert sorted(order) == [i for i, word in enumerate(words) if word != "a"]
        exact = [divergence(model.double(), caption, i) for i in order]
        model.float()
        for before, after in itertools.pairwise(exact):
            assert before >= after - 1e-6


def test_unknown_token_has_another_order_than_the_reverse_divergence() -> None:
    """The direction of KL matters: a case in which they rank two words differently."""
    model = SpelledEncoder(seed=0, context=30).double()
    captions = [f"{a} {b} {c}" for a in WORDS for b in WORDS for c in WORDS]
    found = UnknownToken().order(
        model,
        captions,
        some_choices(captions, without=""),
        embed_captions(model, captions),
        away_from(captions, 0),
    )
    scores = [{i: divergence(model, c, i) for i in range(3)} for c in captions]
    clear = [min(abs(s[0] - s[1]), abs(s[1] - s[2]), abs(s[0] - s[2])) > 1e-6 for s in scores]
    assert sum(clear) > 200
    for order, own, sure in zip(found, scores, clear, strict=True):
        assert not sure or order == by_score([0, 1, 2], own)


def test_unknown_token_encodes_what_it_needs_in_one_go() -> None:
    model = SpelledEncoder()
    captions = ["a red", "a red", "star", "a a"]
    embeddings = embed_captions(model, captions)
    model.seen.clear()
    found = UnknownToken().order(
        model, captions, some_choices(captions, without="a"), embeddings, away_from(captions, 0)
    )
    assert found == [(1,), (1,), (0,), ()]
    assert model.seen == ["a [UNK]", "[UNK]"]


def gradient_scores(
    model: SpelledEncoder, caption: str, number: int, value: Value
) -> dict[int, float]:
    """Central differences of one caption's value, token by token."""
    tokens, owner, step = model.tokenize([caption]), torch.tensor([number]), 1e-5
    embedded = model.embed_tokens(tokens).detach()

    @torch.no_grad()
    def at(row: int, column: int, by: float) -> float:
        moved = embedded.clone()
        moved[0, row, column] += by
        return float(value(model.encode_tokens(tokens, moved), owner))

    norms = [
        math.sqrt(
            sum(
                ((at(row, column, step) - at(row, column, -step)) / (2 * step)) ** 2
                for column in range(embedded.shape[2])
            )
        )
        for row in range(1, tokens.shape[1] - 1)
    ]
    scores, first = {}, 0
    for position, word in enumerate(caption.split(" ")):
        length = len(model.word(word))
        scores[position] = sum(norms[first : first + length])
        first += length
    return scores


@settings(max_examples=25, deadline=None)
@given(captions=captions_strategy, seed=st.integers(0, 50), chunk=st.sampled_from([1, 15, 512]))
def test_gradient_equals_finite_differences(captions: list[str], seed: int, chunk: int) -> None:
    model = SpelledEncoder(seed=seed).double()
    value = away_from(captions, seed, torch.float64)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(importance, "TOKENS_PER_CHUNK", {"cpu": chunk})
        found = Gradient().order(
            model,
            captions,
            some_choices(captions, without="a"),
            embed_captions(model, captions),
            value,
        )
    for number, (caption, order) in enumerate(zip(captions, found, strict=True)):
        words = caption.split(" ")
        assert sorted(order) == [i for i, word in enumerate(words) if word != "a"]
        scores = gradient_scores(model, caption, number, value)
        rounded = {i: round(score, 5) for i, score in scores.items()}
        for before, after in itertools.pairwise(order):
            assert rounded[before] >= rounded[after] - 2e-5


def test_gradient_of_what_the_context_cuts_is_zero() -> None:
    # Ten pieces fit; the end token, which matters most by far, stands where "surfing" would.
    model = SpelledEncoder(context=12)
    caption = "elephant elephant star surfing red x"
    assert model.word_spans(caption)[3][0] == 11
    choices: list[Choices] = [(("other",),) * 6]
    value = away_from([caption], 0)
    (order,) = Gradient().order(model, [caption], choices, embed_captions(model, [caption]), value)
    assert set(order[:3]) == {0, 1, 2}
    assert order[3:] == (3, 4, 5)


@pytest.mark.parametrize("part", [UnknownToken(), Gradient()])
def test_ties_go_by_position_and_nothing_is_encoded_for_nothing(part: Importance) -> None:
    class Constant(SpelledEncoder):
        def encode_tokens(self, tokens: Tensor, embedded: Tensor | None = None) -> Tensor:
            same = torch.eye(6)[:1].repeat(len(tokens), 1)
            return same if embedded is None else same + 0 * embedded.sum((1, 2)).unsqueeze(1)

    captions = ["a red star x", "a"]
    found = part.order(
        Constant(),
        captions,
        some_choices(captions, without="a"),
        torch.eye(6)[:1].repeat(2, 1),
        away_from(captions, 0),
    )
    assert found == [(1, 2, 3), ()]

    model = SpelledEncoder()
    nothing = part.order(model, ["a a"], [((), ())], torch.eye(6)[:1], away_from(["a a"], 0))
    assert nothing == [()]
    assert model.seen == []


def test_gradient_passes_are_bounded_and_leave_parameters_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importance, "TOKENS_PER_CHUNK", {"cpu": 20})
    model = SpelledEncoder()
    captions = ["elephant star"] * 3 + ["x"] * 9 + ["red x"] * 4
    embeddings = embed_captions(model, captions)
    model.rows_encoded.clear()
    Gradient().order(
        model, captions, some_choices(captions, without=""), embeddings, away_from(captions, 0)
    )
    assert sum(rows for rows, _ in model.rows_encoded) == len(captions)
    assert all(rows * length <= 20 for rows, length in model.rows_encoded)
    assert model.rows_encoded[0] == (6, 3)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_only_the_gradient_follows_the_value() -> None:
    model = SpelledEncoder()
    captions = ["x ab cd ef"]  # a piece each, so that no word wins by its length
    choices = some_choices(captions, without="")
    embeddings = embed_captions(model, captions)
    for part, follows in ((UnknownToken(), False), (Gradient(), True)):
        orders = {
            tuple(part.order(model, captions, choices, embeddings, away_from(captions, seed)))
            for seed in range(20)
        }
        assert (len(orders) > 1) is follows
        assert part.uses_value is follows


def test_sections_build_importance() -> None:
    adapter: TypeAdapter[Importance] = TypeAdapter(Importance)
    assert adapter.validate_python({"kind": "unknown_token"}) == UnknownToken()
    assert adapter.validate_python({"kind": "gradient"}) == Gradient()
    for section in ({"kind": "attention"}, {"kind": "gradient", "uses_value": False}):
        with pytest.raises(ValidationError):
            adapter.validate_python(section)
