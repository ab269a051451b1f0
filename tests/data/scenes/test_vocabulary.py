from __future__ import annotations

from mmrobust.data.scenes import vocabulary
from mmrobust.data.scenes.grammar import parse
from mmrobust.data.scenes.vocabulary import MEANINGS, VOCABULARY, lexicon


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


def test_lexicon_is_symmetric_and_holds_no_word_for_itself():
    substitutes = lexicon()
    for word, others in substitutes.items():
        assert word not in others
        assert len(others) == len(set(others)) > 0
        assert all(word in substitutes[other] for other in others)


def test_rare_words_read_like_common_ones():
    assert parse("a huge scarlet disc") == parse("a large red circle")
