from __future__ import annotations

import itertools
import string

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from rapidfuzz.distance import Levenshtein
from tests.attacks.text_search.conftest import PIECES, TableMaskedLM

from mmrobust.attacks.text_search.base import Choices, Language
from mmrobust.attacks.text_search.candidates import (
    Candidates,
    CharacterCandidates,
    GrammarCandidates,
    LexiconCandidates,
    MaskedLMCandidates,
)
from mmrobust.errors import UserError

WORDS = ["a", "the", "man", "dog", "é", "straße", "running", "plays", "surfer", "surfß", "qq"]
captions_strategy = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)


def released(
    masked_lm: TableMaskedLM, caption: str, *, k: int, threshold: float, shift: int, keep: int
) -> Choices:
    """The ports' procedure for one caption, word by word, with nothing left out."""
    scores, predictions = masked_lm.logits(caption).topk(k, dim=-1)
    words, index, found = caption.split(" "), 0, []
    for word in words:
        length = len(masked_lm.pieces(word))
        rows = predictions[index + shift : index + length + shift].tolist()
        logits = scores[index + shift : index + length + shift].tolist()
        index += length
        texts: list[str] = []
        if index > masked_lm.context:
            pass
        elif length == 1:
            for piece, logit in zip(rows[0], logits[0], strict=True):
                if threshold != 0 and logit < threshold:
                    break
                texts.append(PIECES[piece])
        else:
            combined: list[list[int]] = [[]]
            for row in rows[:12]:
                combined = [[*before, piece] for before in combined for piece in row[:4]]
            combined = combined[:keep]
            perplexity = [masked_lm.perplexity(torch.tensor([c])).item() for c in combined]
            for row in sorted(range(len(combined)), key=lambda i: perplexity[i]):
                texts.append(masked_lm.join(combined[row]))
        unique: list[str] = []
        for text in texts:
            if text and " " not in text and text != word and text not in unique:
                unique.append(text)
        found.append(tuple(unique))
    return tuple(found)


@settings(max_examples=80, deadline=None)
@given(
    captions=st.lists(captions_strategy, min_size=1, max_size=4),
    k=st.integers(1, 10),
    threshold=st.sampled_from([0.0, 0.3, 1.5]),
    aligned=st.booleans(),
    keep=st.sampled_from([1, 7, 24]),
    context=st.sampled_from([4, 64]),
)
def test_masked_lm_equals_a_slow_reading_of_released_code(
    captions: list[str], k: int, threshold: float, aligned: bool, keep: int, context: int
) -> None:
    masked_lm = TableMaskedLM(context=context)
    candidates = MaskedLMCandidates(
        k=k, threshold=threshold, aligned=aligned, max_combinations=keep
    )
    found = candidates.propose(captions, Language(masked_lm=masked_lm))
    assert found == [
        released(masked_lm, c, k=k, threshold=threshold, shift=int(aligned), keep=keep)
        for c in captions
    ]


def test_unaligned_takes_what_is_predicted_for_the_piece_before(masked_lm: TableMaskedLM) -> None:
    language = Language(masked_lm=masked_lm)
    logits = masked_lm.logits("man dog")  # [CLS] man dog [SEP]
    best = [PIECES[i] for i in logits.argmax(dim=1)]
    assert len(set(best[:3])) == 3
    own = MaskedLMCandidates(k=1, threshold=0).propose(["man dog"], language)
    before = MaskedLMCandidates(k=1, threshold=0, aligned=False).propose(["man dog"], language)
    assert own == [((best[1],), (best[2],))]
    assert before == [((best[0],), (best[1],))]


def test_the_first_combinations_vary_the_last_piece_fastest(masked_lm: TableMaskedLM) -> None:
    found = MaskedLMCandidates(threshold=0).propose(["surfer"], Language(masked_lm=masked_lm))
    rows = masked_lm.logits("surfer").topk(4, dim=-1).indices.tolist()[1:4]
    first = list(itertools.product(*rows))[:24]
    assert set(found[0][0]) == {
        text for text in map(masked_lm.join, first) if " " not in text and text != "surfer"
    }
    ((word,),) = found
    by_text = {masked_lm.join(c): masked_lm.perplexity(torch.tensor([c])).item() for c in first}
    assert [by_text[text] for text in word] == sorted(by_text[text] for text in word)
    assert len(word) >= 2


def test_long_words_are_not_combined_in_full(masked_lm: TableMaskedLM) -> None:
    word = "run" + "ning" * 13  # 4^12 combinations of the pieces that count
    ((found,),) = MaskedLMCandidates().propose([word], Language(masked_lm=masked_lm))
    assert masked_lm.perplexity_calls == [(24, 12)]
    assert word not in found


def test_sequences_of_equal_length_are_ranked_in_one_batch_without_repeats(
    masked_lm: TableMaskedLM,
) -> None:
    captions = ["a running man", "a running man", "surfer", "the plays"]
    MaskedLMCandidates().propose(captions, Language(masked_lm=masked_lm))
    lengths = sorted(length for _, length in masked_lm.perplexity_calls)
    assert lengths == [2, 3]
    (pairs,) = [rows for rows, length in masked_lm.perplexity_calls if length == 2]
    assert pairs <= 16 + 16  # "running" once, "plays"


def test_inner_pieces_are_proposed_as_they_come(masked_lm: TableMaskedLM) -> None:
    found = MaskedLMCandidates(k=len(PIECES), threshold=0).propose(
        ["man"], Language(masked_lm=masked_lm)
    )
    assert set(found[0][0]) == {piece for piece in PIECES if piece not in ("man", "ice cream")}
    assert "##ing" in found[0][0]


def test_words_behind_the_context_have_no_substitutes() -> None:
    masked_lm = TableMaskedLM(context=3)
    found = MaskedLMCandidates(threshold=0).propose(
        ["a man running dog", "a the man dog"], Language(masked_lm=masked_lm)
    )
    assert [[bool(word) for word in caption] for caption in found] == [
        [True, True, False, False],
        [True, True, True, False],
    ]


def test_masked_lm_candidates_need_a_model() -> None:
    with pytest.raises(UserError, match="masked_lm"):
        MaskedLMCandidates().propose(["a man"], Language())


def test_lexicon_and_grammar_keep_their_order_and_drop_what_is_no_other_word() -> None:
    language = Language(
        synonyms={"red": ["ruby", "red", "crimson", "dark red", "", "ruby"], "été": ["saison"]},
        alternatives={"red": ["blue"], "a": ["the"]},
    )
    assert LexiconCandidates().propose(["a red été", "a", ""], language) == [
        ((), ("ruby", "crimson"), ("saison",)),
        ((),),
        ((),),
    ]
    assert GrammarCandidates().propose(["a red été"], language) == [(("the",), ("blue",), ())]


words_strategy = st.one_of(
    st.text(string.ascii_lowercase, min_size=1, max_size=9),
    st.text(st.characters(exclude_categories=("Cs", "Z", "Cc")), min_size=1, max_size=6),
)


@settings(max_examples=120, deadline=None)
@given(word=words_strategy, distance=st.integers(1, 3), per_word=st.integers(1, 30))
def test_characters_stand_at_exactly_their_distance(
    word: str, distance: int, per_word: int
) -> None:
    candidates = CharacterCandidates(distance=distance, per_word=per_word)
    ((found,),) = candidates.propose([word], Language())
    assert len(found) == len(set(found)) == per_word
    for other in found:
        assert other
        assert " " not in other
        assert Levenshtein.distance(word, other) == distance
        assert set(other) <= set(word) | set(string.ascii_lowercase)


def test_no_word_is_emptied() -> None:
    letters = " ".join(string.ascii_letters)
    for per_word in (12, 80):  # drawn, and all that there are
        (found,) = CharacterCandidates(per_word=per_word).propose([letters], Language())
        assert all(other for word in found for other in word)


@pytest.mark.parametrize("word", ["a", "ab", "aab", "é", "B2"])
def test_all_misspellings_where_fewer_exist(word: str) -> None:
    ((found,),) = CharacterCandidates(per_word=10_000).propose([word], Language())
    letters = string.ascii_lowercase
    expected = {word[:i] + word[i + 1 :] for i in range(len(word))}
    expected |= {word[:i] + c + word[i + 1 :] for i in range(len(word)) for c in letters}
    expected |= {word[:i] + c + word[i:] for i in range(len(word) + 1) for c in letters}
    assert set(found) == expected - {"", word}
    assert len(found) == len(expected - {"", word})


def test_all_misspellings_at_distance_two() -> None:
    ((found,),) = CharacterCandidates(distance=2, per_word=10**6).propose(["a"], Language())
    strings = [
        "".join(letters)
        for size in (1, 2, 3)
        for letters in itertools.product(string.ascii_lowercase, repeat=size)
    ]
    assert sorted(found) == sorted(s for s in strings if Levenshtein.distance("a", s) == 2)


def test_misspellings_depend_on_the_word_alone_and_differ_between_words() -> None:
    candidates = CharacterCandidates()
    together = candidates.propose(["red star red", "", "star"], Language())
    assert together[0][0] == together[0][2]
    assert together[0][1] == together[2][0]
    assert together[1] == ((),)
    assert together[2] == candidates.propose(["star"], Language())[0]
    edits = [
        [
            str(Levenshtein.editops(word, other))
            for other in candidates.propose([word], Language())[0][0]
        ]
        for word in ("star", "moon")
    ]
    assert edits[0] != edits[1]


def test_every_sort_of_edit_is_drawn() -> None:
    ((found,),) = CharacterCandidates(per_word=200).propose(["elephants"], Language())
    assert {len(other) for other in found} == {8, 9, 10}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"kind": "lexicon"}, LexiconCandidates()),
        ({"kind": "grammar"}, GrammarCandidates()),
        ({"kind": "masked_lm", "k": 3, "aligned": False}, MaskedLMCandidates(k=3, aligned=False)),
        ({"kind": "characters", "distance": 2}, CharacterCandidates(distance=2)),
    ],
)
def test_sections_build_candidates(section: dict[str, object], expected: object) -> None:
    assert TypeAdapter(Candidates).validate_python(section) == expected


@pytest.mark.parametrize(
    "section",
    [{"kind": "word2vec"}, {}, {"kind": "masked_lm", "k": 0}, {"kind": "lexicon", "k": 3}],
)
def test_other_sections_are_refused(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Candidates).validate_python(section)
