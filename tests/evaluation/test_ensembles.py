"""The worst case over several attacks, query by query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mmrobust.evaluation.ensembles import WorstCase
from mmrobust.evaluation.metrics import cell_rates
from mmrobust.evaluation.retrieval import DIRECTIONS, Embeddings, of_items

World = Callable[..., Embeddings]
Ranks = Callable[..., pd.DataFrame]

KS = (1, 5)
ITEMS = [0, 2, 3, 5, 6, 8, 9, 11]
SIZES = [6, 12]


@pytest.fixture
def clean(made_up: World, unattacked: World, outcomes_of: Ranks) -> pd.DataFrame:
    return outcomes_of(unattacked(made_up(0)), gallery_images=SIZES)


@pytest.fixture
def attacked(made_up: World, unattacked: World, outcomes_of: Ranks) -> Callable[..., pd.DataFrame]:
    """Makes the outcomes of an attack that moves the clean world in a direction of its own."""

    def made(seed: int, items: Sequence[int] | None = None) -> pd.DataFrame:
        world, rng = made_up(0), np.random.default_rng(seed)

        def moved(values: np.ndarray) -> np.ndarray:
            values = values + 0.5 * rng.normal(size=values.shape)
            return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)

        hit = replace(
            world,
            adversarial_image=moved(world.clean_image),
            adversarial_text=moved(world.clean_text),
        )
        outcomes = outcomes_of(hit, gallery_images=SIZES)
        return outcomes if items is None else of_items(outcomes, items)

    return made


def recalls(outcomes: pd.DataFrame, items: Sequence[int]) -> dict[tuple[object, ...], float]:
    """Recall by direction, labels, gallery size and k, on some items under own_pair."""
    return {
        (r.direction, r.labels, r.gallery_images, r.k): r.successes.sum() / r.counts.sum()
        for r in cell_rates(of_items(outcomes, items), None, ks=KS)
    }


def test_recall_is_at_or_below_that_of_every_member(
    clean: pd.DataFrame, attacked: Callable[..., pd.DataFrame]
) -> None:
    """Members on all items, on more and on fewer than the ensemble's, and one on what stands."""
    members = {
        "all": (attacked(1), ITEMS),
        "more": (attacked(2, [*ITEMS, 1, 4]), ITEMS),
        "fewer": (attacked(3, [2, 5, 11]), [2, 5, 11]),
    }
    whole = attacked(4)
    worst = WorstCase(of_items(clean, ITEMS), max(KS))
    for name, (outcomes, _) in members.items():
        worst.add(name, outcomes)
    worst.attack_standing("last", lambda rows: of_items(whole, rows))
    members["last"] = (whole, ITEMS)
    lower = 0
    for outcomes, items in members.values():
        ours, theirs = recalls(worst.outcomes, items), recalls(outcomes, items)
        assert len(ours) == 2 * 2 * len(SIZES) * len(KS)
        assert all(ours[key] <= theirs[key] for key in ours)
        lower += sum(ours[key] < theirs[key] for key in ours)
    assert lower > 0
    assert set(worst.outcomes["image"]) == set(ITEMS)


def test_each_query_has_the_highest_rank_of_the_members(
    clean: pd.DataFrame, attacked: Callable[..., pd.DataFrame]
) -> None:
    members = [attacked(seed, ITEMS) for seed in (1, 2)]
    worst = WorstCase(of_items(clean, ITEMS), max(KS))
    for seed, outcomes in enumerate(members):
        worst.add(str(seed), outcomes.sample(frac=1, random_state=seed))
    expected = np.maximum.reduce([of_items(clean, ITEMS)["rank"], *(m["rank"] for m in members)])
    np.testing.assert_array_equal(worst.outcomes["rank"], expected)
    others = worst.outcomes.drop(columns="rank")
    pd.testing.assert_frame_equal(others, of_items(clean, ITEMS).drop(columns="rank"))


def test_truth_is_that_of_the_member_that_ranks_the_query_lowest(clean: pd.DataFrame) -> None:
    start = of_items(clean, [3]).assign(rank=np.int32(1))
    worst = WorstCase(start, max(KS))
    for rank, true in ((4, 1), (9, 0), (9, 1), (2, 1)):
        outcomes = start.assign(rank=np.int32(rank), caption_true=np.int8(true))
        worst.add(f"{rank}, {true}", outcomes)
        assert set(worst.outcomes["caption_true"]) == {1 if rank == 4 else 0}
    assert set(worst.outcomes["rank"]) == {9}


def test_standing_items_shrink_and_the_last_member_meets_just_these(
    clean: pd.DataFrame, attacked: Callable[..., pd.DataFrame]
) -> None:
    start = of_items(clean, ITEMS).assign(rank=np.int32(1))
    worst = WorstCase(start, max(KS))
    assert worst.items_standing() == ITEMS
    seen: list[list[int]] = []

    def craft(rows: Sequence[int]) -> pd.DataFrame:
        seen.append(list(rows))
        return of_items(start, rows).assign(rank=np.int32(max(KS) + 1))

    felled = start.assign(rank=np.int32(max(KS) + 1))
    worst.add("first", of_items(felled, ITEMS[:3]))
    # An item whose caption is still found within the largest k stands.
    kept = felled["direction"].eq("t2i") & felled["image"].eq(ITEMS[3]) & felled["rank"].gt(0)
    row = felled.index[kept][0]
    worst.add("second", of_items(felled.drop(index=row), ITEMS[3:5]))
    assert worst.items_standing() == [ITEMS[3], *ITEMS[5:]]
    worst.attack_standing("third", craft)
    worst.attack_standing("fourth", craft)
    assert seen == [[ITEMS[3], *ITEMS[5:]]]
    assert worst.standing == {"first": 5, "second": 4, "third": 0, "fourth": 0}
    assert worst.items_standing() == []


def test_items_stand_by_the_queries_that_the_ensemble_is_about(clean: pd.DataFrame) -> None:
    start = of_items(clean, [2, 3])
    fallen = (start["image"] == 2) == (start["direction"] == "i2t")
    start["rank"] = np.where(fallen, max(KS) + 1, max(KS)).astype(np.int32)
    standing = {
        of: WorstCase(start, max(KS), direction=of).items_standing() for of in (*DIRECTIONS, None)
    }
    assert standing == {"i2t": [3], "t2i": [2], None: [2, 3]}


def test_an_item_that_is_lost_from_the_start_is_not_attacked(clean: pd.DataFrame) -> None:
    start = of_items(clean, [2, 3])
    start["rank"] = np.where(start["image"] == 2, max(KS) + 1, max(KS)).astype(np.int32)
    assert WorstCase(start, max(KS)).items_standing() == [3]


def test_members_about_other_queries_are_refused(clean: pd.DataFrame) -> None:
    worst = WorstCase(of_items(clean, [2, 3]), max(KS))
    with pytest.raises(ValueError, match="about other queries"):
        worst.add("other", clean.assign(query=clean["query"] + 100))
