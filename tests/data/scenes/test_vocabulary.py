from __future__ import annotations

from mmrobust.data.scenes import vocabulary
from mmrobust.data.scenes.grammar import parse
from mmrobust.data.scenes.vocabulary import MEANINGS, OPPOSITES, VOCABULARY


def test_every_word_has_one_concept():
    words = [w for kinds in VOCABULARY.values() for concept in kinds for w in concept]
    assert len(words) == len(set(words)) == len(MEANINGS)
    assert all(word.isalpha() and word.islower() for word in words)


def test_every_concept_has_a_common_word_and_one_to_three_rare_ones():
    assert all(2 <= len(concept) <= 4 for kinds in VOCABULARY.values() for concept in kinds)


def test_common_words_are_the_names_of_the_values():
    for kind, names in [
        ("shape", vocabulary.SHAPES),
        ("colour", vocabulary.COLOURS),
        ("size", vocabulary.SIZES),
        ("background", vocabulary.BACKGROUNDS),
        ("relation", vocabulary.RELATIONS),
    ]:
        assert tuple(words[0] for words in VOCABULARY[kind]) == names


def test_opposites_are_mutual_and_of_one_kind():
    for concept, opposite in OPPOSITES.items():
        assert OPPOSITES[opposite] == concept != opposite
        here, there = MEANINGS[concept], MEANINGS[opposite]
        assert here.kind == there.kind
        assert VOCABULARY[here.kind][here.value][0] == concept  # named by its common word


def test_rare_words_read_like_common_ones():
    assert parse("a huge scarlet disc") == parse("a large red circle")
