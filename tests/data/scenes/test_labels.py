from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mmrobust.data.scenes.captions import draw_captions
from mmrobust.data.scenes.grammar import parse
from mmrobust.data.scenes.labels import draw_labelled
from mmrobust.data.scenes.scene import SceneArrays
from mmrobust.data.scenes.truth import are_true
from mmrobust.data.scenes.vocabulary import SIZES
from mmrobust.errors import UserError

N = 4000


def independence(labels: np.ndarray, values: np.ndarray) -> float:
    """p-value of the chi-square test."""
    table = np.zeros((8, 8))
    np.add.at(table, (labels, values), 1)
    return float(stats.chi2_contingency(table).pvalue)


@pytest.mark.parametrize("attribute", ["colour", "shape"])
def test_share_one_is_the_label_and_share_zero_tells_nothing(attribute):
    for image, text in [(1, 0), (0, 1)]:
        drawn = draw_labelled(
            N,
            image_label_share=image,
            text_label_share=text,
            rng=np.random.default_rng(0),
            attribute=attribute,
        )
        values = [getattr(s, attribute)[:, 0] for s in (drawn.image_scenes, drawn.caption_scenes)]
        certain, idle = values if image else values[::-1]
        np.testing.assert_array_equal(certain, drawn.labels)
        assert independence(drawn.labels, idle) > 0.001
        assert np.bincount(drawn.labels, minlength=8).min() > N / 8 * 0.8


def test_shares_between_are_met_and_the_modalities_fail_apart():
    drawn = draw_labelled(
        N, image_label_share=0.6, text_label_share=0.3, rng=np.random.default_rng(0)
    )
    right = [s.colour[:, 0] == drawn.labels for s in (drawn.image_scenes, drawn.caption_scenes)]
    for hits, share in zip(right, (0.6, 0.3), strict=True):
        p = share + (1 - share) / 8
        assert abs(hits.mean() - p) < 4 * np.sqrt(p * (1 - p) / N)
    assert abs(np.corrcoef(*right)[0, 1]) < 0.06


def test_scenes_are_still_scenes_with_one_large_object():
    drawn = draw_labelled(
        500, image_label_share=1, text_label_share=1, rng=np.random.default_rng(0)
    )
    for scenes in (drawn.image_scenes, drawn.caption_scenes):
        assert isinstance(scenes, SceneArrays)
        for index in range(len(scenes)):
            objects = scenes[index].objects
            assert len({o.colour for o in objects}) == len(objects)
            assert len({o.shape for o in objects}) == len(objects)
            assert [SIZES[o.size] for o in objects] == ["large"] + ["small"] * (len(objects) - 1)


def test_full_captions_are_true_and_tell_the_label():
    rng = np.random.default_rng(0)
    drawn = draw_labelled(300, image_label_share=0, text_label_share=1, rng=rng)
    captions = draw_captions(drawn.caption_scenes, rng, per_scene=1, detail=1, rare_word_rate=0.2)
    assert are_true(captions, drawn.caption_scenes).all()
    for caption, label in zip(captions, drawn.labels.tolist(), strict=True):
        read = parse(caption)
        assert read is not None
        large = SIZES.index("large")
        assert [mention.colour for mention in read.mentions if mention.size == large] == [label]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image_label_share": 1.5}, "image_label_share: 1.5"),
        ({"text_label_share": -0.1}, "text_label_share: -0.1"),
        ({"attribute": "taste"}, "attribute: 'taste' is not one of colour, shape"),
    ],
)
def test_bad_arguments_are_refused(wrong, message):
    asked = {"image_label_share": 0.5, "text_label_share": 0.5, "attribute": "colour"} | wrong
    with pytest.raises(UserError, match=message):
        draw_labelled(3, rng=np.random.default_rng(0), **asked)
