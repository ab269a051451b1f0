from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrobust.data.scenes.captions import draw_captions, draw_propositions, speak
from mmrobust.data.scenes.lexicon import lexicon
from mmrobust.data.scenes.scene import Scene, SceneObject, draw_scenes
from mmrobust.data.scenes.truth import are_true, is_true, positives_matrix
from mmrobust.data.scenes.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    MEANINGS,
    RELATIONS,
    SHAPES,
    SIZES,
    VOCABULARY,
)

SEEDS = st.integers(0, 2**32)
SHARES = st.floats(0, 1)
RANGES = {
    "colour": len(COLOURS),
    "shape": len(SHAPES),
    "size": len(SIZES),
    "link": len(RELATIONS),
    "background": len(BACKGROUNDS),
}


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, detail=SHARES, rare=SHARES)
def test_captions_are_true_of_their_scene(seed, detail, rare):
    rng = np.random.default_rng(seed)
    scenes = draw_scenes(60, rng)
    captions = speak(draw_propositions(scenes, rng, detail=detail), rng, rare_word_rate=rare)
    assert all(is_true(caption, scenes[i]) for i, caption in enumerate(captions))
    assert are_true(captions, scenes).all()


@pytest.mark.parametrize("attribute", list(RANGES))
@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, detail=st.floats(0.3, 1))
def test_one_swapped_attribute_makes_a_caption_false(attribute, seed, detail):
    rng = np.random.default_rng(seed)
    scenes = draw_scenes(80, rng)
    said = draw_propositions(scenes, rng, detail=detail)
    values = getattr(said, attribute).reshape(len(scenes), -1)
    values = values[:, : 1 + int(rng.integers(values.shape[1]))]  # which mention is swapped
    rows = np.flatnonzero(values[:, -1] >= 0)
    swapped = getattr(said, attribute).copy()
    view = swapped.reshape(len(scenes), -1)
    shift = rng.integers(1, RANGES[attribute], size=len(rows))
    view[rows, values.shape[1] - 1] = (values[rows, -1] + shift) % RANGES[attribute]
    captions = speak(replace(said, **{attribute: swapped}), rng, rare_word_rate=0.3)
    assert not any(is_true(captions[row], scenes[row]) for row in rows.tolist())
    assert not are_true(captions, scenes)[rows].any()
    others = np.setdiff1d(np.arange(len(scenes)), rows)
    assert are_true(captions, scenes)[others].all()


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_one_word_of_another_value_makes_a_caption_false(seed):
    rng = np.random.default_rng(seed)
    scenes = draw_scenes(40, rng)
    for row, caption in enumerate(
        draw_captions(scenes, rng, per_scene=1, detail=0.8, rare_word_rate=0.3)
    ):
        words = caption.split()
        for place, word in enumerate(words):
            kind, value = MEANINGS.get(word, ("", -1))
            if kind in ("", "ground", "picture", "show"):
                continue
            other = (value + int(rng.integers(1, len(VOCABULARY[kind])))) % len(VOCABULARY[kind])
            lie = [*words[:place], VOCABULARY[kind][other][0], *words[place + 1 :]]
            assert not is_true(" ".join(lie), scenes[row])


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_substitutes_of_the_lexicon_keep_the_truth(seed):
    rng = np.random.default_rng(seed)
    substitutes = lexicon().synonyms
    scenes = draw_scenes(60, rng)
    captions = draw_captions(scenes, rng, per_scene=1, detail=0.8, rare_word_rate=0.3)
    all_replaced, one_replaced = [], []
    for caption in captions:
        words = caption.split()
        new = [str(rng.choice(substitutes[w])) if w in substitutes else w for w in words]
        place = int(rng.choice([i for i, w in enumerate(words) if w in substitutes]))
        all_replaced.append(" ".join(new))
        one_replaced.append(" ".join([*words[:place], new[place], *words[place + 1 :]]))
    for texts in (all_replaced, one_replaced):
        assert all(is_true(text, scenes[i]) for i, text in enumerate(texts))
    # ... and the falsehood: the positives of every caption stay the same scenes.
    before, after = positives_matrix(captions, scenes), positives_matrix(all_replaced, scenes)
    assert (before != after).nnz == 0


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, detail=SHARES)
def test_positives_agree_with_is_true_pair_by_pair(seed, detail):
    rng = np.random.default_rng(seed)
    scenes = draw_scenes(60, rng)
    captions = draw_captions(scenes, rng, per_scene=1, detail=detail, rare_word_rate=0.3)
    captions += ["no sentence", "a red circle above a red circle", "a red disc and a red circle"]
    matrix = positives_matrix(captions, scenes)
    assert matrix.dtype == bool
    assert matrix.shape == (len(captions), len(scenes))
    assert matrix.has_sorted_indices
    singles = [scenes[i] for i in range(len(scenes))]
    expected = np.array([[is_true(caption, scene) for scene in singles] for caption in captions])
    np.testing.assert_array_equal(matrix.toarray(), expected)
    picks = rng.integers(len(captions), size=len(scenes))
    np.testing.assert_array_equal(
        are_true([captions[i] for i in picks], scenes), expected[picks, np.arange(len(scenes))]
    )


def test_positives_of_nothing_have_their_shape():
    scenes = draw_scenes(4, np.random.default_rng(0))
    assert positives_matrix([], scenes).shape == (0, 4)
    assert positives_matrix(["a red circle"], scenes.take(slice(0, 0))).shape == (1, 0)


def test_captions_and_scenes_must_pair_up():
    with pytest.raises(ValueError, match="2 captions for 3 scenes"):
        are_true(["a", "b"], draw_scenes(3, np.random.default_rng(0)))


def test_truth_of_one_scene_read_by_hand():
    red_circle = SceneObject(
        shape=SHAPES.index("circle"), colour=COLOURS.index("red"), size=1, column=0, row=1
    )
    blue_square = SceneObject(
        shape=SHAPES.index("square"), colour=COLOURS.index("blue"), size=0, column=2, row=0
    )
    scene = Scene(objects=(red_circle, blue_square), background=BACKGROUNDS.index("dark"))
    for caption in [
        "a red circle",
        "a large red circle to the left of a small blue square on a dark background",
        "on a dark background a blue square and a red disc",
        "a blue square is right of a red circle",
        "left of a blue square we see a huge scarlet disk",
        "a red circle and a red circle",
    ]:
        assert is_true(caption, scene), caption
    for caption in [
        "a blue circle",
        "a small red circle",
        "a red circle on a light background",
        "a red circle above a blue square",
        "a red circle below a blue square",  # it is lower, but further left than low
        "a red circle with a green star",
        "a red circle above a red circle",
        "something red",
    ]:
        assert not is_true(caption, scene), caption


def test_captions_are_fairly_specific():
    rng = np.random.default_rng(0)
    scenes = draw_scenes(400, rng)
    captions = draw_captions(scenes, rng, per_scene=5, detail=0.8, rare_word_rate=0.25)
    assert 1.0 <= positives_matrix(captions, scenes).sum() / len(captions) < 1.35
