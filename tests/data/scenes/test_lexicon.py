"""The language of scenes: what each word can be replaced by, and what that does to a caption."""

from __future__ import annotations

import numpy as np
import pytest

from mmrobust.data.scenes.captions import draw_captions
from mmrobust.data.scenes.grammar import parse
from mmrobust.data.scenes.lexicon import lexicon
from mmrobust.data.scenes.scene import SceneArrays, draw_scenes
from mmrobust.data.scenes.truth import is_true
from mmrobust.data.scenes.vocabulary import MEANINGS, VOCABULARY

LEXICON = lexicon()


def drawn(n: int) -> tuple[list[str], SceneArrays]:
    """`n` captions, each true of the scene at its place."""
    rng = np.random.default_rng(0)
    scenes = draw_scenes(n, rng)
    return draw_captions(scenes, rng, per_scene=1, detail=0.8, rare_word_rate=0.4), scenes


def replaced(caption: str, substitutes: dict[str, tuple[str, ...]]) -> list[tuple[str, str, str]]:
    """Every caption with one word replaced, after that word and its substitute."""
    words = caption.split()
    return [
        (word, other, " ".join([*words[:place], other, *words[place + 1 :]]))
        for place, word in enumerate(words)
        for other in substitutes.get(word, ())
    ]


def test_synonyms_are_the_other_words_of_a_concept():
    assert LEXICON.synonyms["tiny"] == ("small", "little", "mini")
    assert LEXICON.synonyms["red"] == ("crimson", "scarlet", "ruby")
    assert LEXICON.synonyms.keys() == MEANINGS.keys()
    for word, others in LEXICON.synonyms.items():
        assert {word, *others} == {
            w for w, meaning in MEANINGS.items() if meaning == MEANINGS[word]
        }
        assert len(others) == len({word, *others}) - 1


def test_alternatives_are_all_words_for_the_same_place_common_ones_first():
    assert LEXICON.alternatives["tiny"] == (
        *("small", "large"),
        *("little", "mini", "big", "huge", "sizeable"),
    )
    assert LEXICON.alternatives["left"] == ("right", "leftward", "rightward")
    assert LEXICON.alternatives["over"][:3] == ("above", "below", "atop")
    colours = [words[0] for words in VOCABULARY["colour"]]
    assert LEXICON.alternatives["teal"][:8] == tuple(colours)
    assert LEXICON.alternatives["cyan"][:7] == tuple(c for c in colours if c != "cyan")
    for kind in ("shape", "colour", "size", "background", "ground", "picture", "show"):
        words = {word for concept in VOCABULARY[kind] for word in concept}
        for word in words:
            assert sorted([word, *LEXICON.alternatives[word]]) == sorted(words)
    for kind in ("ground", "picture", "show"):
        for word in VOCABULARY[kind][0]:
            assert LEXICON.alternatives[word] == LEXICON.synonyms[word]


def test_antonyms_are_all_words_of_the_opposite():
    assert LEXICON.antonyms["tiny"] == ("large", "big", "huge", "sizeable")
    assert LEXICON.antonyms["leftward"] == ("right", "rightward")
    assert LEXICON.antonyms["beneath"] == ("above", "over", "atop")
    assert LEXICON.antonyms["pale"] == ("dark", "dim", "murky", "shadowy")
    assert {MEANINGS[word] for word in LEXICON.antonyms} == {
        *((kind, value) for kind, n in [("size", 2), ("relation", 4)] for value in range(n)),
        *(("background", value) for value in (0, 3)),
    }


def test_every_word_of_a_caption_is_content_or_a_stop_word():
    captions, _ = drawn(2000)
    words = {word for caption in captions for word in caption.split()}
    assert not MEANINGS.keys() & LEXICON.stop_words
    # "here" is read, as in "here is a red circle", but never drawn.
    assert words - MEANINGS.keys() == LEXICON.stop_words - {"here"}
    assert words >= {"a", "an", "the", "is", "of", "and", "with", "on"}
    assert parse("here is a red circle") == parse("there is a red circle") is not None


def test_a_synonym_leaves_what_is_said():
    captions, scenes = drawn(500)
    total = 0
    for row, caption in enumerate(captions):
        meaning, scene = parse(caption), scenes[row]
        for _, _, changed in replaced(caption, LEXICON.synonyms):
            assert parse(changed) == meaning
            assert is_true(changed, scene)
            total += 1
    assert total > 5000


def test_an_alternative_is_read_and_false_if_it_names_another_concept():
    captions, scenes = drawn(150)
    other_concepts = 0
    for row, caption in enumerate(captions):
        meaning, scene = parse(caption), scenes[row]
        for word, other, changed in replaced(caption, LEXICON.alternatives):
            assert parse(changed) is not None
            same = MEANINGS[word] == MEANINGS[other]
            assert (parse(changed) == meaning) == same
            assert is_true(changed, scene) == same
            other_concepts += not same
    assert other_concepts > 5000


def test_an_antonym_turns_what_is_said():
    captions, scenes = drawn(500)
    for row, caption in enumerate(captions):
        for _, _, changed in replaced(caption, LEXICON.antonyms):
            assert parse(changed) not in (None, parse(caption))
            assert not is_true(changed, scenes[row])


@pytest.mark.parametrize("name", ["synonyms", "alternatives", "antonyms"])
def test_relations_between_words_are_symmetric(name):
    words = getattr(LEXICON, name)
    assert all(word in words[other] for word, others in words.items() for other in others)
