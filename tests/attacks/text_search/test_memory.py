"""What is remembered of a batch's captions: never encoded twice, never more than allowed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from tests.attacks.conftest import LEXICON, ToyEncoder

from mmrobust.attacks.text_search.base import Language
from mmrobust.attacks.text_search.importance import UnknownToken
from mmrobust.attacks.text_search.memory import TextMemory
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.models.encoding import embed_captions
from mmrobust.threat import TextBudget

CAPTIONS = ("a big red ring", "blue star", "red star", "a big red ring", "ring")
LANGUAGE = Language(synonyms={word: tuple(others) for word, others in LEXICON.items()})


class UnkEncoder(ToyEncoder):
    """Reads the hidden word as no word."""

    def tokenize(self, captions: Sequence[str]) -> torch.Tensor:
        return super().tokenize([c.replace("[UNK]", "star") for c in captions])


@pytest.fixture
def encoder() -> UnkEncoder:
    return UnkEncoder().eval()


def search(
    memory: TextMemory, guide: torch.Tensor, text: TextSearch | None = None, words: int = 2
) -> list[str]:
    text = text or TextSearch()
    found, embeddings = text(
        memory,
        CAPTIONS,
        lambda rows, owner: -(rows * guide[owner]).sum(dim=1),
        budget=TextBudget(words=words),
        images=range(len(CAPTIONS)),
        language=LANGUAGE,
    )
    torch.testing.assert_close(embeddings, embed_captions(memory.model, found))
    return found


def guide(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(len(CAPTIONS), 6, generator=generator), dim=1)


def test_equal_captions_are_encoded_once(encoder: UnkEncoder) -> None:
    found = TextMemory(encoder).embed(CAPTIONS)
    assert encoder.rows_encoded == 4
    assert torch.equal(found[0], found[3])
    torch.testing.assert_close(found, encoder.encode_text(CAPTIONS))


def test_captions_that_are_read_alike_are_encoded_once_and_say_so(encoder: UnkEncoder) -> None:
    memory = TextMemory(encoder)
    found, readings = memory.read(["blue star", "red ring", "blue [UNK]"])
    assert encoder.rows_encoded == 2
    assert torch.equal(found[0], found[2])
    assert readings[0] == readings[2] != readings[1]
    later, again = memory.read(["ring", "red ring", "blue [UNK]", "a big red ring"])
    assert again[1:3] == readings[1:]
    assert torch.equal(later[1:3], found[1:])
    torch.testing.assert_close(later[0], encoder.encode_text(["ring"])[0])


def test_a_first_search_encodes_distinct_rows_alone(encoder: UnkEncoder) -> None:
    search(TextMemory(encoder), guide(0)[[0, 1, 2, 0, 4]], words=1)
    changed = ("a huge red ring", "a big crimson ring", "a big red hoop", "azure star",
               "crimson star", "hoop")  # fmt: skip
    again = 4  # distinct outcomes, which `search` embeds anew to compare
    assert encoder.rows_encoded == len(set(CAPTIONS)) + len(changed) + again


@pytest.mark.parametrize(
    "text",
    [TextSearch(), TextSearch(importance=UnknownToken()), TextSearch(method="beam")],
    ids=["rounds", "walk", "beam"],
)
def test_a_second_search_encodes_nothing_twice(encoder: UnkEncoder, text: TextSearch) -> None:
    memory = TextMemory(encoder)
    seen: list[str] = []
    inner = encoder.tokenize

    def listening(captions: Sequence[str]) -> torch.Tensor:
        seen.extend(captions)
        return inner(captions)

    encoder.tokenize = listening  # type: ignore[method-assign]
    for turn in range(3):
        text(
            memory,
            CAPTIONS,
            lambda rows, owner, turn=turn: -(rows * guide(turn)[owner]).sum(dim=1),  # type: ignore[misc]
            budget=TextBudget(words=2),
            images=range(len(CAPTIONS)),
            language=LANGUAGE,
        )
    assert len(seen) == len(set(seen))
    assert encoder.rows_encoded == len(seen)


@pytest.mark.parametrize("max_rows", [0, 1, 3, 5, 1000])
def test_a_bound_on_rows_costs_nothing_but_work(encoder: UnkEncoder, max_rows: int) -> None:
    bounded, free = TextMemory(encoder, max_rows=max_rows), TextMemory(encoder)
    for turn in range(2):
        assert search(bounded, guide(turn)) == search(free, guide(turn))
    assert len(bounded._rows) <= max_rows
    full = [caption for caption in ("star", "a star", "big star", "huge star")]
    for _ in range(2):
        torch.testing.assert_close(bounded.embed(full), encoder.encode_text(full))
    assert len(bounded._rows) <= max_rows


def test_what_is_kept_holds_no_larger_block_alive(encoder: UnkEncoder) -> None:
    memory = TextMemory(encoder, max_rows=2)
    memory.embed(["red", "blue", "ring", "star"])
    (kept,) = {row.untyped_storage().nbytes() for row, _ in memory._rows.values()}
    assert kept == 2 * 6 * 4


def test_facts_are_asked_once_for_what_is_new(encoder: UnkEncoder) -> None:
    memory, asked = TextMemory(encoder), []

    def lengths(captions: Sequence[str]) -> list[int]:
        asked.append(list(captions))
        return [len(caption) for caption in captions]

    assert memory.facts("length", ["ab", "c", "ab"], lengths) == [2, 1, 2]
    assert memory.facts("length", ["c", "def"], lengths) == [1, 3]
    assert memory.facts("length", ["def"], lengths) == [3]
    assert memory.facts("other", ["c"], lengths) == [1]
    assert asked == [["ab", "c"], ["def"], ["c"]]
