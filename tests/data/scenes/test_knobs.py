from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrobust.data.scenes.captions import draw_captions
from mmrobust.data.scenes.knobs import misalign_captions, repeat_captions
from mmrobust.data.scenes.scene import draw_scenes
from mmrobust.data.scenes.truth import is_true
from mmrobust.errors import UserError


def pairs(n: int, seed: int) -> tuple[list[str], object]:
    rng = np.random.default_rng(seed)
    scenes = draw_scenes(n, rng)
    return draw_captions(scenes, rng, per_scene=1, detail=0.8, rare_word_rate=0.2), scenes


def test_repeats_take_the_first_captions():
    captions = ["a", "b", "c", "d", "e", "f"]
    assert repeat_captions(captions, per_scene=3, distinct=3) == captions
    assert repeat_captions(captions, per_scene=3, distinct=2) == ["a", "b", "a", "d", "e", "d"]
    assert repeat_captions(captions, per_scene=3, distinct=1) == list("aaaddd")


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.floats(0, 1))
def test_misaligned_captions_are_false_and_as_many_as_asked(seed, share):
    captions, scenes = pairs(60, seed)
    out = misalign_captions(captions, scenes, np.random.default_rng(seed), share=share)
    changed = [i for i, (a, b) in enumerate(zip(captions, out, strict=True)) if a != b]
    assert len(changed) == round(share * len(captions))
    assert all(not is_true(out[i], scenes[i]) and out[i] in captions for i in changed)


def test_a_larger_share_replaces_the_same_captions_and_more():
    captions, scenes = pairs(200, 0)
    few, many = (
        {i for i, text in enumerate(
            misalign_captions(captions, scenes, np.random.default_rng(1), share=share)
        ) if text != captions[i]}
        for share in (0.2, 0.5)
    )  # fmt: skip
    assert few < many


def test_one_scene_cannot_be_misaligned():
    captions, scenes = pairs(1, 0)
    with pytest.raises(UserError, match="misalignment"):
        misalign_captions(captions, scenes, np.random.default_rng(0), share=1.0)
