from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from mmrobust.data.prepared import load_split
from mmrobust.errors import UserError
from mmrobust.models.encoding import to_pixels
from mmrobust.training.pairs import PairSampler, TrainingData

WORDS = ("one", "two", "three", "four", "five", "six", "seven")


@pytest.fixture
def uneven() -> TrainingData:
    """Three items: 2, 1 and 1 images in two arrays, 3, 1 and 3 captions; one is true of two."""
    first = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((3, 2, 2, 3), np.uint8)
    caption_item = np.array([0, 0, 1, 2, 2, 0, 2])
    image_item = np.array([0, 1, 2, 0])
    true = caption_item[:, None] == image_item[None, :]
    true[2, 2] = True  # the caption of item 1 also holds of item 2
    true[0] = False  # and the first caption is false of its own images
    return TrainingData(
        images=[first, 7 * np.ones((1, 2, 2, 3), np.uint8)],
        image_item=image_item,
        image_source=np.full(4, -1),
        captions=WORDS,
        caption_item=caption_item,
        caption_source=np.arange(7),
        positives=sp.csr_array(true),
    )


def test_an_epoch_visits_every_image_once_with_a_caption_of_its_own(data: Path) -> None:
    split = load_split(data, "train")
    sampler = PairSampler(TrainingData.of(split), batch_size=16, seed=0)
    own = [set() for _ in split.images]
    for caption, image in zip(split.captions, split.caption_image, strict=True):
        own[image].add(caption)
    for epoch in range(2):
        seen = []
        for step in range(3):
            batch = sampler.batch(3 * epoch + step)
            for pixels, caption in zip(batch.images, batch.captions, strict=True):
                (row,) = [
                    i
                    for i in range(48)
                    if torch.equal(pixels, to_pixels(split.images[i : i + 1])[0])
                ]
                assert caption in own[row]
                seen.append(row)
        assert sorted(seen) == list(range(48))


def test_batches_depend_on_seed_and_step_alone(data: Path) -> None:
    split = load_split(data, "train")
    one, same = (
        PairSampler(TrainingData.of(split), batch_size=16, seed=0).batch(4) for _ in range(2)
    )
    other = PairSampler(TrainingData.of(split), batch_size=16, seed=1).batch(4)
    assert torch.equal(one.images, same.images)
    assert one.captions == same.captions
    assert one.captions != other.captions


def test_each_epoch_has_an_order_of_its_own(data: Path) -> None:
    sampler = PairSampler(TrainingData.of(load_split(data, "train")), batch_size=16, seed=0)
    one, other = (
        torch.cat([sampler.batch(3 * epoch + step).images for step in range(3)])
        for epoch in range(2)
    )
    assert not torch.equal(one, other)


def test_which_image_is_drawn_says_nothing_of_the_caption() -> None:
    """Of two images and two captions of an item every pair comes up."""
    pictures = np.arange(2, dtype=np.uint8)[:, None, None, None] * np.ones((2, 2, 2, 3), np.uint8)
    item = np.zeros(2, dtype=np.int64)
    sampler = PairSampler(
        TrainingData(
            images=[pictures],
            image_item=item,
            image_source=np.full(2, -1),
            captions=WORDS[:2],
            caption_item=item,
            caption_source=np.arange(2),
            positives=sp.csr_array(np.ones((2, 2), dtype=bool)),
        ),
        batch_size=1,
        seed=0,
    )
    batches = [sampler.batch(step) for step in range(40)]
    seen = {(round(255 * float(of.images[0, 0, 0, 0])), *of.captions) for of in batches}
    assert seen == {(0, "one"), (0, "two"), (1, "one"), (1, "two")}


def test_a_batch_beyond_the_data_is_refused(data: Path) -> None:
    with pytest.raises(UserError, match=r"training\.batch_size: 49 exceeds the 48"):
        PairSampler(TrainingData.of(load_split(data, "train")), batch_size=49, seed=0)


def test_all_images_and_captions_of_an_item_enter_together(uneven: TrainingData) -> None:
    batch = PairSampler(uneven, batch_size=3, seed=0, pairs="all").batch(0)
    assert sorted(batch.captions) == sorted(WORDS)
    found = (255 * batch.images[:, 0, 0, 0]).round().int().tolist()
    assert sorted(found) == [0, 1, 2, 7]
    owned = {0: {"one", "two", "six"}, 1: {"three"}, 2: {"four", "five", "seven"}}
    item_of = {0: 0, 7: 0, 1: 1, 2: 2}
    for image, row in zip(found, batch.positives.tolist(), strict=True):
        own = {caption for caption, right in zip(batch.captions, row, strict=True) if right}
        assert own == owned[item_of[image]]


def test_one_pair_an_item_is_drawn_anew(uneven: TrainingData) -> None:
    sampler = PairSampler(uneven, batch_size=3, seed=0)
    pixels, captions = set(), set()
    for step in range(40):
        batch = sampler.batch(step)
        assert len(batch.images) == len(batch.captions) == 3
        assert torch.equal(batch.positives, torch.eye(3, dtype=torch.bool))
        pixels |= set((255 * batch.images[:, 0, 0, 0]).round().int().tolist())
        captions |= set(batch.captions)
    assert pixels == {0, 1, 2, 7}
    assert captions == set(WORDS)


def test_exact_positives_add_what_is_true_of_other_items(uneven: TrainingData) -> None:
    batch = PairSampler(uneven, batch_size=3, seed=0, pairs="all", positives="exact").batch(0)
    by_item = PairSampler(uneven, batch_size=3, seed=0, pairs="all").batch(0)
    added = batch.positives & ~by_item.positives
    assert not (by_item.positives & ~batch.positives).any()  # an item's own pair stays one
    images, captions = added.nonzero(as_tuple=True)
    assert (255 * batch.images[images, 0, 0, 0]).round().int().tolist() == [2]
    assert [batch.captions[row] for row in captions.tolist()] == ["three"]


def test_only_the_first_captions_of_an_image_are_learned_from(data: Path) -> None:
    split = load_split(data, "train")
    two = TrainingData.of(split, captions_per_image=2)
    assert len(two.captions) == 2 * len(split.images)
    for image in range(len(split.images)):
        own = [
            caption
            for caption, row in zip(split.captions, split.caption_image, strict=True)
            if row == image
        ]
        kept = [two.captions[row] for row in np.flatnonzero(two.caption_item == image)]
        assert kept == own[:2]
    kept_rows = np.flatnonzero(np.arange(len(split.captions)) % 5 < 2)
    assert np.array_equal(two.positives.toarray(), split.positives.toarray()[kept_rows])
    every = TrainingData.of(split)
    assert list(every.captions) == list(split.captions)


@pytest.fixture
def drawn(uneven: TrainingData) -> TrainingData:
    """As uneven, but the last picture was made from "one", and "six" says "one" otherwise."""
    return replace(
        uneven,
        image_source=np.array([-1, -1, -1, 0]),
        caption_source=np.array([0, 1, 2, 3, 4, 0, 6]),
    )


def test_a_picture_of_a_caption_goes_with_that_caption(drawn: TrainingData) -> None:
    sampler = PairSampler(drawn, batch_size=3, seed=0)
    seen = {0: set(), 7: set()}
    for step in range(120):
        batch = sampler.batch(step)
        assert torch.equal(batch.positives, torch.eye(3, dtype=torch.bool))
        values = (255 * batch.images[:, 0, 0, 0]).round().int().tolist()
        for value, caption in zip(values, batch.captions, strict=True):
            if value in seen:
                seen[value].add(caption)
    assert seen == {0: {"one", "two", "six"}, 7: {"one", "six"}}


def test_among_all_pairs_too(drawn: TrainingData) -> None:
    batch = PairSampler(drawn, batch_size=3, seed=0, pairs="all").batch(0)
    values = (255 * batch.images[:, 0, 0, 0]).round().int().tolist()
    right = {
        value: {caption for caption, one in zip(batch.captions, row, strict=True) if one}
        for value, row in zip(values, batch.positives.tolist(), strict=True)
    }
    assert right[0] == {"one", "two", "six"}
    assert right[7] == {"one", "six"}
    assert bool(batch.positives.any(dim=0).all())


def test_fewer_items_are_the_first_with_all_that_is_theirs(uneven: TrainingData) -> None:
    two = uneven.first_items(2)
    assert two.n_items == 2
    assert list(two.captions) == ["one", "two", "three", "six"]
    assert two.caption_item.tolist() == [0, 0, 1, 0]
    assert two.caption_source.tolist() == [0, 1, 2, 5]
    assert two.image_item.tolist() == [0, 1, 0]
    found = (255 * two.pixels(np.arange(3))[:, 0, 0, 0]).round().int().tolist()
    assert found == [0, 1, 7]
    rows, columns = [0, 1, 2, 5], [0, 1, 3]
    assert np.array_equal(two.positives.toarray(), uneven.positives.toarray()[rows][:, columns])
    assert uneven.first_items(None) is uneven


def test_more_items_than_there_are_are_refused(uneven: TrainingData) -> None:
    with pytest.raises(UserError, match=r"training\.items: 4 exceeds the 3 training images"):
        uneven.first_items(4)
