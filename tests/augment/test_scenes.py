from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.augment.conftest import DATA_SEED, DATASET, Augment

from mmrobust.augment.scenes_caption import misread
from mmrobust.augment.scenes_draw import scenes_of
from mmrobust.data.prepare import build_dataset
from mmrobust.data.prepared import load_split
from mmrobust.data.scenes.grammar import parse, parse_all
from mmrobust.data.scenes.render import render
from mmrobust.data.scenes.scene import SceneArrays, graph_keys, relations
from mmrobust.data.scenes.truth import are_true
from mmrobust.data.scenes.vocabulary import BACKGROUNDS, MEANINGS, VOCABULARY
from mmrobust.training.pairs import TrainingData

NONE = np.empty(0, dtype=np.int64)


def first_captions(**changed: Any) -> tuple[list[str], SceneArrays]:
    dataset = build_dataset({**DATASET, **changed})
    scenes = dataset.image_scenes("train", seed=DATA_SEED)  # type: ignore[attr-defined]
    captions = dataset._captions(  # type: ignore[attr-defined]
        "train",
        dataset.scenes(seed=DATA_SEED)["train"],
        seed=DATA_SEED,  # type: ignore[attr-defined]
    )
    return captions[::3], scenes


def rare_share(captions: list[str]) -> float:
    words = [word for caption in captions for word in caption.split() if word in MEANINGS]
    rare = [
        word not in (concept[0] for concept in VOCABULARY[MEANINGS[word].kind]) for word in words
    ]
    return float(np.mean(rare))


def test_a_paraphrase_means_what_the_first_caption_means(augment: Augment) -> None:
    captions, _ = first_captions()
    made = augment("scenes_paraphrase").items["caption"].tolist()
    for before, after in zip(captions * 2, made, strict=True):
        old, new = parse(before), parse(after)
        assert old is not None
        assert new is not None
        links = [link if link < 0 else link // 2 for link in old.links]
        assert old.mentions == new.mentions or set(old.mentions) == set(new.mentions)
        assert old.background == new.background
        assert [link if link < 0 else link // 2 for link in new.links] == links


@pytest.mark.parametrize("share", [0.0, 0.25, 0.3, 1.0])
@pytest.mark.parametrize("method", ["scenes_paraphrase", "scenes_render", "scenes_draw"])
def test_misalignment_is_exact(augment: Augment, method: str, share: float) -> None:
    true = augment(method, n=1, misaligned=share).items["true"].to_numpy()
    expected = sum(round(share * size) for size in (256, 44))
    assert int((true == 0).sum()) == expected
    assert int((true == 1).sum()) == 300 - expected


@pytest.mark.parametrize("method", ["scenes_render", "scenes_draw"])
def test_a_misaligned_picture_names_the_item_whose_scene_it_shows(
    augment: Augment, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keyed(scenes: SceneArrays, *arguments: object, **named: object) -> np.ndarray:
        """Pictures whose first bytes tell the scene."""
        pictures = np.zeros((len(scenes), 24 * 24 * 3), dtype=np.uint8)
        pictures[:, :8] = graph_keys(scenes)[:, None].view(np.uint8)
        return pictures.reshape(-1, 24, 24, 3)

    monkeypatch.setattr("mmrobust.augment.training_scenes.render", keyed)
    aligned, moved = (augment(method, n=2, misaligned=share) for share in (0.0, 0.25))
    assert aligned.items["shows_item"].tolist() == aligned.items["item"].tolist()
    own = moved.items["shows_item"] == moved.items["item"]
    assert own.tolist() == (moved.items["true"] == 1).tolist()
    row = 300 * moved.items["number"].to_numpy() + moved.items["shows_item"].to_numpy()
    assert np.array_equal(moved.images, aligned.images[row])
    assert "shows_item" not in augment("randaugment", n=1).items


def test_more_misalignment_moves_the_same_items_and_more(augment: Augment) -> None:
    few, many = (augment("scenes_paraphrase", n=1, misaligned=share).items for share in (0.2, 0.5))
    wrong = few["true"] == 0
    assert (many["true"][wrong] == 0).all()
    kept = many["true"] == 1
    assert (few["caption"][kept] == many["caption"][kept]).all()


def test_a_misaligned_item_paraphrases_one_other_caption_in_all_passes(augment: Augment) -> None:
    captions, _ = first_captions()
    items = augment("scenes_paraphrase", n=2, misaligned=0.5).items
    donors = items["source_caption"].to_numpy() // 3
    assert np.array_equal(donors[:300], donors[300:])
    own = donors == items["item"].to_numpy()
    assert np.array_equal(own, items["true"].to_numpy() == 1)
    said, meant = (
        parse_all(texts) for texts in (items["caption"].tolist(), [captions[of] for of in donors])
    )
    for name in ("colour", "shape", "size"):
        ours, theirs = (np.sort(getattr(of, name)) for of in (said, meant))
        assert np.array_equal(ours, theirs)


def test_other_rows_are_misaligned_in_each_chunk(
    augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmrobust.augment.chunks.CHUNK_ITEMS", 100)
    items = augment("scenes_paraphrase", n=1, misaligned=0.5).items
    one, other, third = np.split(items["true"].to_numpy() == 0, 3)
    assert one.sum() == other.sum() == third.sum() == 50
    assert not np.array_equal(one, other)
    assert not np.array_equal(other, third)


@pytest.mark.parametrize("method", ["scenes_render", "scenes_draw"])
def test_more_misalignment_leaves_the_other_pictures_as_they_are(
    augment: Augment, method: str
) -> None:
    few, many = (augment(method, n=1, misaligned=share) for share in (0.2, 0.5))
    kept = many.items["true"].to_numpy() == 1
    assert (few.items["true"][kept] == 1).all()
    assert np.array_equal(few.images[kept], many.images[kept])


def test_words_shift_and_nothing_else(augment: Augment) -> None:
    near = augment("scenes_paraphrase", n=1).items["caption"].tolist()
    far = augment("scenes_paraphrase", n=1, rare_word_rate=1.0).items["caption"].tolist()
    assert rare_share(near) < 0.1
    assert rare_share(far) > 0.95
    one, other = parse_all(near), parse_all(far)
    for name in ("colour", "shape", "size", "background"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_a_captioner_errs_as_often_as_it_is_told(augment: Augment) -> None:
    _, scenes = first_captions()
    exact = augment("scenes_caption", n=1).items
    assert (exact["true"] == 1).all()
    wrong = augment("scenes_caption", n=1, error_rate=0.2).items["caption"].tolist()
    before, after = parse_all(exact["caption"].tolist()), parse_all(wrong)
    assert np.array_equal(before.colour >= 0, after.colour >= 0)  # what is told stays what it was
    for name in ("colour", "shape", "size", "background"):
        old, new = (getattr(read, name).reshape(300, -1) for read in (before, after))
        # A relation that comes first may turn a sentence round: mentions are compared as sets.
        errors = np.mean([sorted(a) != sorted(b) for a, b in zip(old, new, strict=True)])
        expected = 1 - np.mean(0.8 ** (old >= 0).sum(axis=1))
        assert abs(errors - expected) < 4 * np.sqrt(expected * (1 - expected) / 300) + 0.03
    assert not are_true(wrong, scenes).all()


def test_what_is_misread_is_never_what_it_was() -> None:
    said = parse_all(first_captions()[0])
    wrong = misread(said, np.random.default_rng(0), error_rate=1.0)
    for name in ("colour", "shape", "size", "link", "background"):
        before, after = getattr(said, name), getattr(wrong, name)
        told = before >= 0
        assert told.any()
        assert (after[told] != before[told]).all()
        assert (after[told] >= 0).all()
        assert np.array_equal(after[~told], before[~told])


def test_a_captioner_tells_as_much_and_in_words_as_rare_as_it_is_told(augment: Augment) -> None:
    little, much, rare = (
        augment("scenes_caption", n=1, **told).items["caption"].tolist()
        for told in ({"detail": 0.1}, {"detail": 1.0}, {"rare_word_rate": 1.0})
    )
    sizes = [(parse_all(captions).size >= 0).sum() for captions in (little, rare, much)]
    assert 2 * sizes[0] < sizes[1] < sizes[2]
    assert rare_share(much) < 0.1
    assert rare_share(rare) > 0.95


def test_pictures_of_a_caption_show_what_it_says_and_imagine_the_rest() -> None:
    captions, scenes = first_captions()
    imagined = scenes_of(captions, np.random.default_rng(0), detail=0.8, taken=NONE)
    assert are_true(captions, imagined).all()
    for array in (imagined.colour, imagined.shape):
        for row, count in zip(array.tolist(), imagined.n_objects.tolist(), strict=True):
            assert len(set(row[:count])) == count
            assert row[count:] == [-1] * (3 - count)
    present = imagined.shape >= 0
    pairs = present[:, :, None] & present[:, None, :] & ~np.eye(3, dtype=bool)
    assert (relations(imagined)[pairs] >= 0).all()
    said = parse_all(captions)
    open_background = said.background < 0
    same = imagined.background[open_background] == scenes.background[open_background]
    assert 0.05 < same.mean() < 0.5  # a quarter by chance
    assert len(set(imagined.background[open_background].tolist())) == len(BACKGROUNDS)


@pytest.mark.parametrize("detail", [0.2, 0.8])
def test_an_imagined_scene_has_as_many_objects_as_the_speaker_leaves_out(detail: float) -> None:
    captions, scenes = first_captions(detail=detail, splits={"train": 2000, "dev": 4, "test": 4})
    imagined = scenes_of(captions, np.random.default_rng(0), detail=detail, taken=NONE)
    mentions = (parse_all(captions).colour >= 0).sum(axis=1)
    shares = [
        [np.mean(drawn.n_objects - mentions == number) for number in range(3)]
        for drawn in (scenes, imagined)
    ]
    assert sum(shares[1]) == pytest.approx(1)
    assert shares[0] == pytest.approx(shares[1], abs=0.03)


def test_no_scene_that_is_held_out_is_imagined() -> None:
    captions, _ = first_captions()
    free = graph_keys(scenes_of(captions, np.random.default_rng(0), detail=0.8, taken=NONE))
    rest = scenes_of(captions, np.random.default_rng(0), detail=0.8, taken=free[::2])
    kept = graph_keys(rest)
    assert not np.isin(kept, free[::2]).any()
    assert np.isin(kept, free).any()


def test_pictures_of_captions_keep_clear_of_the_other_splits(
    augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def watched(
        captions: list[str], rng: np.random.Generator, *, detail: float, taken: np.ndarray
    ) -> SceneArrays:
        seen.append(taken)
        return scenes_of(captions, rng, detail=detail, taken=taken)

    monkeypatch.setattr("mmrobust.augment.scenes_draw.scenes_of", watched)
    augment("scenes_draw", n=1)
    dataset = build_dataset(DATASET)
    drawn = dataset.scenes(seed=DATA_SEED)  # type: ignore[attr-defined]
    held_out = {*graph_keys(drawn["dev"]).tolist(), *graph_keys(drawn["test"]).tolist()}
    assert seen
    assert all(set(taken.tolist()) == held_out for taken in seen)


@pytest.mark.parametrize("method", ["scenes_render", "scenes_draw"])
def test_pictures_have_the_datasets_size_and_noise_and_the_style_that_is_told(
    augment: Augment, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def noting(scenes: SceneArrays, rng: np.random.Generator, **told: Any) -> np.ndarray:
        seen.append(told)
        return render(scenes, rng, **told)

    monkeypatch.setattr("mmrobust.augment.training_scenes.render", noting)
    augment(method, n=1, style_shift=0.5)
    noise = build_dataset(DATASET).pixel_noise  # type: ignore[attr-defined]
    assert noise > 0
    assert seen == [{"image_size": 24, "pixel_noise": noise, "style_shift": 0.5}] * 2


def test_style_shifts_the_pictures_and_not_what_they_show(augment: Augment) -> None:
    plain = augment("scenes_render", n=1)
    shifted = augment("scenes_render", n=1, style_shift=1.0)
    assert (shifted.items["true"] == 1).all()
    moved = np.abs(plain.images.astype(int) - shifted.images.astype(int)).mean(axis=(1, 2, 3))
    again = augment("scenes_render", n=2).images
    redrawn = np.abs(again[:300].astype(int) - again[300:].astype(int)).mean(axis=(1, 2, 3))
    assert moved.mean() > 1.5 * redrawn.mean()


def test_training_data_holds_the_items_and_what_was_made_of_them(
    augment: Augment, data: Path
) -> None:
    split = load_split(data, "train")
    captions = augment("scenes_paraphrase", n=2)
    pictures = augment("scenes_render", n=1)
    pairs = TrainingData.of(split, captions_per_image=1, augmented=[captions, pictures])
    assert pairs.image_item.tolist() == [*range(300), *range(300)]
    assert pairs.caption_item.tolist() == [*range(300)] * 3
    assert list(pairs.captions[:300]) == split.captions[::3]
    assert list(pairs.captions[300:]) == captions.items["caption"].tolist()
    dense = pairs.positives.toarray()
    assert dense.shape == (900, 600)
    assert np.array_equal(dense[:, :300], dense[:, 300:])  # a picture counts as its item's own
    assert np.array_equal(dense[300:, :300], captions.positives.toarray())
    rows = np.array([0, 299, 300, 599])
    found = (255 * pairs.pixels(rows)).round().byte().permute(0, 2, 3, 1).numpy()
    expected = [split.images[0], split.images[299], pictures.images[0], pictures.images[299]]
    assert np.array_equal(found, np.stack(expected))


def test_of_pictures_that_show_another_scene_nothing_more_is_taken_to_be_true(
    augment: Augment, data: Path
) -> None:
    split = load_split(data, "train")
    drawn, moved = augment("scenes_draw", n=1), augment("scenes_render", n=1, misaligned=0.4)
    pairs = TrainingData.of(split, augmented=[drawn, moved])
    dense = pairs.positives.toarray()
    first = np.searchsorted(split.caption_image, np.arange(300))
    assert pairs.image_source.tolist() == [-1] * 300 + first.tolist() + [-1] * 300
    assert not dense[:, 300:600].any()
    true = moved.items["true"].to_numpy() == 1
    assert np.array_equal(dense[:, 600:][:, true], dense[:, :300][:, true])
    assert not dense[:, 600:][:, ~true].any()
    assert pairs.caption_source.tolist() == list(range(len(split.captions)))


def test_of_pictures_that_nobody_judges_is_true_what_is_true_of_their_item(
    augment: Augment, data: Path
) -> None:
    made = augment("randaugment", n=1)
    assert (made.items["true"] == -1).all()
    dense = TrainingData.of(load_split(data, "train"), augmented=[made]).positives.toarray()
    assert dense.any()
    assert np.array_equal(dense[:, 300:], dense[:, :300])
