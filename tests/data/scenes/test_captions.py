from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrobust.data.scenes.captions import draw_captions, draw_propositions, speak
from mmrobust.data.scenes.grammar import parse, parse_all
from mmrobust.data.scenes.scene import draw_scenes
from mmrobust.data.scenes.vocabulary import MEANINGS, VOCABULARY
from mmrobust.errors import UserError

SEEDS = st.integers(0, 2**32)
SHARES = st.floats(0, 1)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, detail=SHARES, rare=SHARES)
def test_what_is_said_is_what_is_read(seed, detail, rare):
    rng = np.random.default_rng(seed)
    said = draw_propositions(draw_scenes(60, rng), rng, detail=detail)
    captions = speak(said, rng, rare_word_rate=rare)
    read = parse_all(captions)
    assert read.valid.all()
    for name in ("colour", "shape", "size", "link", "background"):
        np.testing.assert_array_equal(getattr(read, name), getattr(said, name))
    assert [parse(caption) for caption in captions] == list(said)


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a",
        "a circle",
        "a red",
        "red circle",
        "a red large circle",
        "a red circle and",
        "a red circle on a dark",
        "a red circle , a blue square",
        "a rde circle",
        "a red circle on a dark background on a dark background",
        "on a dark background a red circle on a light background",
        "a red circle above above a blue square",
        "a red circle and a blue square and a green star and a pink ring",
        "a red circle left a blue square",
    ],
)
def test_what_is_no_sentence_is_not_read(caption):
    assert parse(caption) is None
    assert not parse_all([caption]).valid.any()


def test_forms_of_one_statement_read_alike():
    plain = parse("a red circle to the left of a blue square on a dark background")
    assert plain is not None
    for caption in [
        "on a dark background a red circle is left of a blue square",
        "A dark background with a red circle leftward of an azure box",
        "this picture shows a crimson disc to the left of a blue square against a dim backdrop",
        "to the right of a red circle there is a blue square on a dark background",
    ]:
        assert parse(caption) == plain


def test_nothing_to_read_is_no_error():
    assert len(parse_all([])) == 0


def test_detail_goes_from_one_object_to_everything():
    rng = np.random.default_rng(0)
    scenes = draw_scenes(400, rng)
    least = draw_propositions(scenes, rng, detail=0)
    assert ((least.colour >= 0).sum(axis=1) == 1).all()
    assert max(least.size.max(), least.link.max(), least.background.max()) == -1
    most = draw_propositions(scenes, rng, detail=1)
    assert ((most.colour >= 0).sum(axis=1) == scenes.n_objects).all()
    assert ((most.size >= 0) == (most.colour >= 0)).all()
    assert ((most.link >= 0) == (most.colour[:, 1:] >= 0)).all()
    np.testing.assert_array_equal(most.background, scenes.background)


def test_rare_word_rate_is_the_share_of_rare_words():
    rng = np.random.default_rng(0)
    said = draw_propositions(draw_scenes(600, rng), rng, detail=0.8)
    for rate in (0.0, 0.3, 1.0):
        captions = speak(said, np.random.default_rng(1), rare_word_rate=rate)
        meanings = [
            (word, MEANINGS[word]) for text in captions for word in text.split() if word in MEANINGS
        ]
        rare = [word != VOCABULARY[kind][value][0] for word, (kind, value) in meanings]
        assert abs(np.mean(rare) - rate) < 0.03
        if rate == 1.0:
            seen = Counter(word for word, _ in meanings)
            assert all(
                seen[word] for kinds in VOCABULARY.values() for words in kinds for word in words[1:]
            )


def test_rare_words_do_not_change_the_build():
    rng = np.random.default_rng(0)
    said = draw_propositions(draw_scenes(200, rng), rng, detail=0.8)
    common = speak(said, np.random.default_rng(1), rare_word_rate=0)
    rare = speak(said, np.random.default_rng(1), rare_word_rate=1)
    for a, b in zip(common, rare, strict=True):
        kinds = [[MEANINGS[w] for w in text.split() if w in MEANINGS] for text in (a, b)]
        assert kinds[0] == kinds[1]


def test_articles_fit_their_words():
    rng = np.random.default_rng(0)
    scenes = draw_scenes(300, rng)
    for text in draw_captions(scenes, rng, per_scene=3, detail=0.8, rare_word_rate=0.5):
        words = text.split()
        for article, word in itertools.pairwise(words):
            if article in ("a", "an"):
                assert (article == "an") == (word[0] in "aeiou"), text


@pytest.mark.parametrize(("detail", "rare"), [(0.8, 0.25), (0.0, 0.25), (1.0, 0.0)])
def test_captions_of_a_scene_differ(detail, rare):
    rng = np.random.default_rng(0)
    captions = draw_captions(
        draw_scenes(150, rng), rng, per_scene=5, detail=detail, rare_word_rate=rare
    )
    assert all(len(set(captions[i : i + 5])) == 5 for i in range(0, len(captions), 5))


def test_too_many_different_captions_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match="captions_per_scene: found no 20 different"):
        draw_captions(draw_scenes(5, rng), rng, per_scene=20, detail=0, rare_word_rate=0)
