from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from mmrobust.errors import UserError
from mmrobust.evaluation.retrieval import Embeddings, gallery_blocks, gallery_ranks, split_ranks

World = Callable[..., Embeddings]


def rank_of(query: np.ndarray, gallery: np.ndarray, right: np.ndarray) -> int:
    """Rank in a gallery that was really built, in double precision, ties against the model."""
    scores = (gallery.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    return 1 + int((scores[~right] >= scores[right].max()).sum())


def slow_ranks(world: Embeddings, protocol: str, direction: str, labels: str) -> list[int]:
    """Build the gallery of every query, item by item, and rank it."""
    truth = world.positives.toarray()
    own = world.caption_image[:, None] == np.arange(len(world.clean_image))
    right = truth if labels == "positives" else own
    ranks = []
    if direction == "i2t":
        for image, query in enumerate(world.adversarial_image):
            gallery = [
                world.adversarial_text[caption]
                if protocol == "full_gallery" or world.caption_image[caption] == image
                else world.clean_text[caption]
                for caption in range(len(world.clean_text))
            ]
            ranks.append(rank_of(query, np.stack(gallery), right[:, image]))
        return ranks
    for caption, query in enumerate(world.adversarial_text):
        gallery = [
            world.adversarial_image[image]
            if protocol == "full_gallery" or world.caption_image[caption] == image
            else world.clean_image[image]
            for image in range(len(world.clean_image))
        ]
        ranks.append(rank_of(query, np.stack(gallery), right[caption]))
    return ranks


@pytest.mark.parametrize("rounded", [False, True], ids=["continuous", "tied"])
@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_galleries_built_one_by_one(made_up: World, seed: int, rounded: bool) -> None:
    world = made_up(seed, rounded=rounded)
    found = gallery_ranks(world)
    assert len(found) == 8
    for key, ranks in found.items():
        assert ranks.tolist() == slow_ranks(world, *key), key


@pytest.mark.parametrize("rounded", [False, True], ids=["continuous", "tied"])
def test_without_an_attack_both_protocols_are_the_clean_ranks(
    made_up: World, unattacked: World, rounded: bool
) -> None:
    world = unattacked(made_up(3, n_images=40, rounded=rounded))
    ranks = gallery_ranks(world)
    for direction in ("i2t", "t2i"):
        for labels in ("one_image", "positives"):
            full, own = (ranks[p, direction, labels] for p in ("full_gallery", "own_pair"))
            assert full.tolist() == own.tolist()


def test_an_equal_caption_of_another_image_ties_wherever_it_stands(made_up: World) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(401, 128))
    image = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    text = image.copy()
    text[-1] = text[0]  # the last image's caption reads like the first one's
    world = Embeddings(
        clean_image=image,
        clean_text=text,
        adversarial_image=image,
        adversarial_text=text,
        caption_image=np.arange(401),
        positives=sp.csr_array(np.eye(401, dtype=bool)),
    )
    ranks = gallery_ranks(world)
    for protocol in ("full_gallery", "own_pair"):
        assert ranks[protocol, "i2t", "one_image"][0] == 2


def test_split_is_cut_into_galleries_that_do_not_see_each_other(made_up: World) -> None:
    world = made_up(1, n_images=12)
    frame = split_ranks(world, gallery_images=[4])
    assert list(frame) == [
        *("protocol", "direction", "labels", "gallery_images", "gallery"),
        *("query", "image", "rank"),
    ]
    assert set(frame.dtypes.iloc[3:].map(str)) == {"int32"}
    assert (frame["gallery_images"] == 4).all()
    assert len(frame) == 4 * (12 + len(world.clean_text))
    keys = ["protocol", "direction", "labels", "gallery"]
    for (protocol, direction, labels, gallery), part in frame.groupby(keys):
        block = world.block(range(4 * gallery, 4 * gallery + 4))
        expected = slow_ranks(block, protocol, direction, labels)
        assert part["rank"].tolist() == expected
    t2i = frame[frame["direction"] == "t2i"]
    assert (world.caption_image[t2i["query"]] == t2i["image"]).all()
    i2t = frame[frame["direction"] == "i2t"]
    assert (i2t["query"] == i2t["image"]).all()
    assert (frame["gallery"] == frame["image"] // 4).all()


def test_one_gallery_is_the_whole_split(made_up: World) -> None:
    world = made_up(2)
    frame = split_ranks(world, gallery_images=[12])
    keys = ["protocol", "direction", "labels"]
    ranks = {key: part["rank"].tolist() for key, part in frame.groupby(keys)}
    assert ranks == {key: values.tolist() for key, values in gallery_ranks(world).items()}


def test_nan_embeddings_get_the_worst_ranks(made_up: World) -> None:
    world = made_up(4)
    broken = world.adversarial_image.copy()
    broken[5] = np.nan
    ranks = gallery_ranks(replace(world, adversarial_image=broken))
    wrong = int((world.caption_image != 5).sum())
    for protocol in ("full_gallery", "own_pair"):
        assert ranks[protocol, "i2t", "one_image"][5] == 1 + wrong
        own = ranks[protocol, "t2i", "one_image"][world.caption_image == 5]
        assert (own == 12).all()


def test_gallery_blocks() -> None:
    assert gallery_blocks(6, 2) == [range(0, 2), range(2, 4), range(4, 6)]
    for size in (0, 4, 7):
        with pytest.raises(UserError, match=r"evaluation.gallery_images: .*allowed: 1, 2, 3, 6"):
            gallery_blocks(6, size)


def test_embeddings_must_fit_together(made_up: World) -> None:
    world = made_up(0)
    with pytest.raises(ValueError, match="disagree"):
        replace(world, adversarial_image=world.clean_image[:-1])
    with pytest.raises(ValueError, match="sorted by image"):
        replace(world, caption_image=world.caption_image[::-1])


def test_image_without_captions_is_refused(made_up: World) -> None:
    world = made_up(0)
    first = world.captions_of(range(1))
    orphaned = replace(
        world,
        caption_image=np.where(world.caption_image == 0, 1, world.caption_image),
    )
    assert first.stop > 0
    with pytest.raises(UserError, match="query 0 of the gallery has no positive"):
        gallery_ranks(orphaned)


def test_frame_is_the_same_twice(made_up: World) -> None:
    world = made_up(6)
    once, again = (split_ranks(world, gallery_images=[6]) for _ in range(2))
    pd.testing.assert_frame_equal(once, again)
