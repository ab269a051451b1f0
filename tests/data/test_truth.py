"""Truth of captions for the datasets that decide it, as attacks and evaluations ask for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmrobust.data import DATASETS
from mmrobust.data.prepare import prepare_data
from mmrobust.data.prepared import load_split
from mmrobust.data.scenes.dataset import Scenes
from mmrobust.data.scenes.lexicon import lexicon
from mmrobust.data.scenes.truth import is_true
from mmrobust.data.scenes.vocabulary import MEANINGS
from mmrobust.data.truth import truth_of
from mmrobust.errors import UserError
from mmrobust.registry import resolve

SECTION = {"name": "scenes", "splits": {"train": 30, "dev": 20, "test": 40}}


def prepared(folder: Path, **fields: object) -> Path:
    prepare_data({"dataset": SECTION | fields, "data_seed": 5}, out=folder)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return prepared(tmp_path_factory.mktemp("scenes") / "plain")


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_it_is_the_truth_of_the_prepared_images(plain, split):
    loaded = load_split(plain, split)
    truth = truth_of(SECTION, split, data_seed=5)
    n_captions, n_images = loaded.positives.shape
    captions = np.repeat(np.arange(n_captions), n_images)
    images = np.tile(np.arange(n_images), n_captions)
    found = truth([loaded.captions[row] for row in captions], images.tolist())
    assert found.dtype == bool
    expected = loaded.positives.toarray()
    assert n_captions <= expected.sum() < expected.size / 10
    np.testing.assert_array_equal(found.reshape(n_captions, n_images), expected)


def test_it_agrees_with_the_slow_oracle_on_captions_with_a_word_replaced(plain):
    rng = np.random.default_rng(0)
    split = load_split(plain, "test")
    scenes = Scenes(splits=SECTION["splits"]).image_scenes("test", seed=5)
    words_of = lexicon().alternatives
    captions, images, same_concept = [], [], []
    for caption, image in zip(split.captions, split.caption_image.tolist(), strict=True):
        words = caption.split()
        for place in rng.permutation([i for i, w in enumerate(words) if w in words_of])[:4]:
            other = str(rng.choice(words_of[words[place]]))
            changed = " ".join([*words[:place], other, *words[place + 1 :]])
            for target in (image, int(rng.integers(40))):
                captions.append(changed)
                images.append(target)
                same_concept.append(MEANINGS[words[place]] == MEANINGS[other])
    captions += ["no sentence", "a red circle above"]
    images += [0, 39]
    found = truth_of(SECTION, "test", data_seed=5)(captions, images)
    expected = [
        is_true(caption, scenes[image]) for caption, image in zip(captions, images, strict=True)
    ]
    np.testing.assert_array_equal(found, expected)
    assert len(found) > 1000
    own = found[: len(same_concept) : 2]
    np.testing.assert_array_equal(own, same_concept[::2])
    assert 0.05 < own.mean() < 0.5  # most substitutes name another concept: most are false


def test_rows_are_those_of_images_where_a_scene_has_several(tmp_path):
    fields = {"renderings_per_scene": 3, "misalignment": 0.5}
    split = load_split(prepared(tmp_path / "out", **fields), "train")
    truth = truth_of(SECTION | fields, "train", data_seed=5)
    found = truth(split.captions, split.caption_image.tolist())
    own = split.positives.toarray()[np.arange(len(split.captions)), split.caption_image]
    np.testing.assert_array_equal(found, own)
    assert own.mean() == pytest.approx(0.5, abs=0.01)  # the misaligned half


def test_nothing_asked_is_nothing_answered():
    assert truth_of(SECTION, "dev", data_seed=5)([], []).shape == (0,)


def test_another_seed_is_another_world(plain):
    split = load_split(plain, "test")
    assert not truth_of(SECTION, "test", data_seed=6)(split.captions, split.caption_image).all()


def test_photographs_decide_nothing():
    assert truth_of({"name": "flickr8k", "raw": "nowhere"}, "test", data_seed=0) is None


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_a_dataset_says_whether_it_decides_truth(dataset):
    cls = resolve(DATASETS, dataset, kind="dataset", base=object)
    assert cls.decides_truth is hasattr(cls, "truth")


def test_bad_sections_and_splits_are_refused():
    with pytest.raises(UserError, match="unknown split 'tset'; did you mean 'test'"):
        truth_of(SECTION, "tset", data_seed=0)
    with pytest.raises(UserError, match="unknown dataset 'scene'; did you mean 'scenes'"):
        truth_of({"name": "scene"}, "test", data_seed=0)
    with pytest.raises(UserError, match="unknown key in dataset: 'image_sise'"):
        truth_of(SECTION | {"image_sise": 40}, "test", data_seed=0)


@pytest.mark.parametrize("images", [[-1], [40]])
def test_images_must_be_those_of_the_split(images):
    with pytest.raises(ValueError, match=r"images -?\d+\.\.-?\d+ of 40 of split 'test'"):
        truth_of(SECTION, "test", data_seed=5)(["a red circle"], images)


def test_captions_and_images_must_pair_up():
    with pytest.raises(ValueError, match="2 captions for 1 scenes"):
        truth_of(SECTION, "test", data_seed=5)(["a red circle", "a red circle"], [0])
