from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmrobust.artifacts import read_json
from mmrobust.data.prepared import load_lexicon, load_split
from mmrobust.data.scenes.dataset import Scenes
from mmrobust.data.scenes.lexicon import lexicon
from mmrobust.data.scenes.scene import graph_keys
from mmrobust.data.scenes.truth import are_true, is_true
from mmrobust.data.scenes.vocabulary import MEANINGS, VOCABULARY
from mmrobust.errors import UserError

SPLITS = {"train": 60, "dev": 12, "test": 15}


def prepare(folder: Path, *, seed: int = 0, **fields: object) -> Path:
    Scenes(**({"splits": SPLITS} | fields)).prepare(folder, seed=seed)
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    return prepare(tmp_path_factory.mktemp("scenes") / "plain")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def truths(folder: Path, dataset: Scenes, split: str) -> np.ndarray:
    """(C,) whether each caption of a prepared split is true of its own image."""
    loaded = load_split(folder, split)
    scenes = dataset.image_scenes(split, seed=0)
    return are_true(loaded.captions, scenes.take(loaded.caption_image))


def test_splits_have_their_sizes_and_captions_are_true(prepared):
    dataset = Scenes(splits=SPLITS)
    for name, n in SPLITS.items():
        split = load_split(prepared, name)
        assert split.images.shape == (n, 40, 40, 3)
        assert len(split.captions) == 5 * n
        np.testing.assert_array_equal(split.caption_image, np.repeat(np.arange(n), 5))
        scenes = dataset.image_scenes(name, seed=0)
        for row, caption in enumerate(split.captions):
            assert is_true(caption, scenes[row // 5])
        assert split.positives[np.arange(5 * n), split.caption_image].all()
        assert split.positives.shape == (5 * n, n)


def test_manifest_and_lexicon(prepared):
    manifest = read_json(prepared / "manifest.json")
    assert manifest["dataset"] == "scenes"
    assert manifest["licence"] == "Apache-2.0 (generated)"
    assert manifest["redistributable"] is True
    assert manifest["source_resolution"] is None
    assert manifest["image_size"] == 40
    assert load_lexicon(prepared) == lexicon()


def test_graphs_are_distinct_within_and_across_splits():
    splits = Scenes(splits={"train": 4000, "dev": 500, "test": 500}).scenes(seed=3)
    keys = np.concatenate([graph_keys(scenes) for scenes in splits.values()])
    assert len(np.unique(keys)) == len(keys) == 5000


def test_same_seed_same_bytes_and_another_seed_others(prepared, tmp_path):
    assert contents(prepare(tmp_path / "again")) == contents(prepared)
    assert contents(prepare(tmp_path / "other", seed=1)) != contents(prepared)


@pytest.mark.parametrize(
    "fields",
    [
        {"splits": SPLITS | {"train": 90}},
        {"splits": SPLITS | {"dev": 20}},
        {
            "misalignment": 0.5,
            "distinct_captions": 2,
            "renderings_per_scene": 2,
            "style_shift": 1.0,
            "vocabulary_shift": 1.0,
        },
    ],
)
def test_test_set_depends_on_no_other_split_and_no_training_knob(prepared, tmp_path, fields):
    folder = prepare(tmp_path / "changed", **fields)
    changed, plain = contents(folder), contents(prepared)
    tests = [name for name in plain if name.startswith("test/")]
    assert len(tests) == 3
    assert all(changed[name] == plain[name] for name in tests)
    assert changed != plain


def test_misalignment_touches_training_captions_only(tmp_path):
    dataset = Scenes(splits=SPLITS, misalignment=0.4)
    dataset.prepare(tmp_path / "out", seed=0)
    assert (~truths(tmp_path / "out", dataset, "train")).sum() == round(0.4 * 300)
    assert truths(tmp_path / "out", dataset, "test").all()
    split = load_split(tmp_path / "out", "train")
    own = split.positives[np.arange(300), split.caption_image]
    np.testing.assert_array_equal(own, truths(tmp_path / "out", dataset, "train"))
    assert (split.positives.sum(axis=1) >= 1).all()  # each is still true of its own scene


def test_distinct_captions_sets_the_diversity_of_training_text(prepared, tmp_path):
    split = load_split(prepare(tmp_path / "out", distinct_captions=2), "train")
    plain = load_split(prepared, "train")
    for start in range(0, 300, 5):
        assert len(set(split.captions[start : start + 5])) == 2
        assert set(split.captions[start : start + 5]) < set(plain.captions[start : start + 5])


def test_renderings_are_new_pictures_with_copies_of_the_captions(prepared, tmp_path):
    dataset = Scenes(splits=SPLITS, renderings_per_scene=3)
    dataset.prepare(tmp_path / "out", seed=0)
    split, plain = load_split(tmp_path / "out", "train"), load_split(prepared, "train")
    assert split.images.shape[0] == 180
    assert split.positives.shape == (900, 180)
    np.testing.assert_array_equal(split.caption_image, np.repeat(np.arange(180), 5))
    for image in range(0, 180, 3):
        assert len({split.images[image + i].tobytes() for i in range(3)}) == 3
        for i in range(3):
            here = split.captions[5 * (image + i) : 5 * (image + i) + 5]
            assert here == plain.captions[5 * (image // 3) : 5 * (image // 3) + 5]
    assert truths(tmp_path / "out", dataset, "train").all()
    expected = np.repeat(plain.positives.toarray(), 3, axis=1)
    np.testing.assert_array_equal(split.positives.toarray()[:5], expected[:5])


def test_shifts_move_training_words_and_pictures_only(prepared, tmp_path):
    folder = prepare(tmp_path / "out", vocabulary_shift=1.0, style_shift=1.0)
    words = [w for text in load_split(folder, "train").captions for w in text.split()]
    content = [(w, MEANINGS[w]) for w in words if w in MEANINGS]
    assert all(word != VOCABULARY[kind][value][0] for word, (kind, value) in content)
    plain = load_split(prepared, "train").images.astype(int)
    assert np.abs(load_split(folder, "train").images - plain).mean() > 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"splits": {"train": 5, "dev": 5}}, "splits: 'test' is missing"),
        ({"splits": SPLITS | {"tset": 5}}, "splits: unknown split 'tset'; did you mean 'test'?"),
        ({"splits": SPLITS | {"dev": 0}}, "splits.dev: 0 is not a whole number in 1..100000"),
        ({"splits": SPLITS | {"dev": 1.5}}, "splits.dev: 1.5 is not"),
        ({"splits": 10}, "splits: 10 is not a number of scenes for each split"),
        ({"image_size": 16}, "image_size: 16 is not a whole number in 24..512"),
        ({"image_size": True}, "image_size: True is not"),
        ({"captions_per_scene": 0}, "captions_per_scene: 0 is not a whole number in 1..20"),
        ({"distinct_captions": 6}, "distinct_captions: 6 is not a whole number in 1..5"),
        ({"renderings_per_scene": 0}, "renderings_per_scene: 0 is not"),
        ({"rare_word_rate": 1.1}, "rare_word_rate: 1.1 is not a number in 0..1"),
        ({"detail": -0.1}, "detail: -0.1 is not"),
        ({"pixel_noise": "much"}, "pixel_noise: 'much' is not"),
        ({"misalignment": float("nan")}, "misalignment: nan is not"),
        ({"style_shift": None}, "style_shift: None is not"),
        ({"vocabulary_shift": 2}, "vocabulary_shift: 2 is not"),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UserError) as caught:
        Scenes(**fields)
    assert message in str(caught.value)
