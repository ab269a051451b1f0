from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmrobust.evaluation.metrics import cell_metrics, cell_rates
from mmrobust.evaluation.retrieval import Embeddings, split_ranks
from mmrobust.intervals import Resampling

World = Callable[..., Embeddings]
KEYS = ("metric", "protocol", "direction", "labels", "gallery_images", "k")


def metrics_of(outcomes: pd.DataFrame, clean: pd.DataFrame | None) -> list[dict[str, Any]]:
    resampling = Resampling(n_resamples=99, confidence=0.9, generator=np.random.default_rng(0))
    return cell_metrics(cell_rates(outcomes, clean, ks=(1, 5)), resampling)


def test_agree_with_counting(made_up: World, unattacked: World) -> None:
    world = made_up(0, n_images=24)
    outcomes = split_ranks(world, gallery_images=[12])
    clean = split_ranks(unattacked(world), gallery_images=[12])
    found = metrics_of(outcomes, clean)
    assert len(found) == 3 * 8 * 2
    for metric in found:
        at, k = {key: metric[key] for key in KEYS[1:5]}, metric["k"]
        rows = np.logical_and.reduce([outcomes[key] == value for key, value in at.items()])
        pairs = list(zip(outcomes["rank"][rows], clean["rank"][rows], strict=True))
        if metric["metric"] == "recall_at_k":
            n, successes = len(pairs), sum(rank <= k for rank, _ in pairs)
        elif metric["metric"] == "recall_drop":
            n, successes = len(pairs), sum((before <= k) - (rank <= k) for rank, before in pairs)
        else:
            n = sum(before <= k for _, before in pairs)
            successes = sum(before <= k < rank for rank, before in pairs)
        assert (metric["n"], metric["successes"]) == (n, successes)
        assert metric["value"] == pytest.approx(successes / n)
        assert metric["low"] <= metric["value"] <= metric["high"]
        assert metric["n_resamples"] == (99 if metric["interval"] == "bootstrap_percentile" else 0)
    assert any(m["metric"] == "attack_success_rate" and 0 < m["value"] < 1 for m in found)


def test_clean_cell_has_recall_only(made_up: World, unattacked: World) -> None:
    found = metrics_of(split_ranks(unattacked(made_up(0)), gallery_images=[12]), None)
    assert {metric["metric"] for metric in found} == {"recall_at_k"}


def test_order_does_not_depend_on_that_of_the_rows(made_up: World) -> None:
    outcomes = split_ranks(made_up(1), gallery_images=[12])
    keys = [tuple(metric[key] for key in KEYS[1:]) for metric in metrics_of(outcomes, None)]
    assert keys == sorted(keys)


def test_nothing_originally_correct_is_null_and_says_so(made_up: World, unattacked: World) -> None:
    outcomes = split_ranks(made_up(0), gallery_images=[12])
    hopeless = outcomes.assign(rank=np.int32(99))
    found = metrics_of(outcomes, hopeless)
    undefined = [metric for metric in found if metric["metric"] == "attack_success_rate"]
    for metric in undefined:
        assert metric["value"] is metric["low"] is metric["high"] is None
        assert (metric["n"], metric["interval"], metric["n_resamples"]) == (0, "none", 0)
    json.dumps(found, allow_nan=False)


def hand_made(ranks: Sequence[int], *, images: Sequence[int] | None = None) -> pd.DataFrame:
    """Outcomes of one protocol, direction and kind of label; one query an image by default."""
    images = range(len(ranks)) if images is None else images
    return pd.DataFrame(
        {
            "protocol": "own_pair",
            "direction": "i2t",
            "labels": "one_image",
            "gallery_images": np.int32(100),
            "gallery": np.int32(0),
            "query": np.arange(len(ranks), dtype=np.int32),
            "image": np.asarray(images, dtype=np.int32),
            "rank": np.asarray(ranks, dtype=np.int32),
        }
    )


def test_both_success_rates_of_a_table_counted_by_hand() -> None:
    """Of ten queries six are right at first; four of them are lost and one other is won."""
    clean = hand_made([1, 1, 1, 1, 1, 1, 2, 2, 3, 9])
    attacked = hand_made([1, 1, 2, 2, 5, 6, 1, 2, 3, 9])
    rows = {row["metric"]: row for row in metrics_of(attacked, clean) if row["k"] == 1}
    assert list(rows) == ["recall_at_k", "attack_success_rate", "recall_drop"]
    found = {name: (row["successes"], row["n"], row["value"]) for name, row in rows.items()}
    assert found == {
        "recall_at_k": (3, 10, 0.3),
        "attack_success_rate": (4, 6, 4 / 6),
        "recall_drop": (3, 10, 0.3),
    }


def test_a_drop_may_be_negative_with_a_paired_interval() -> None:
    """Two of two hundred queries are won: unpaired bounds would be some ten times as far apart."""
    clean = hand_made([1] * 100 + [2] * 100)
    attacked = hand_made([1] * 102 + [2] * 98)
    (drop,) = (
        row
        for row in metrics_of(attacked, clean)
        if row["metric"] == "recall_drop" and row["k"] == 1
    )
    assert (drop["successes"], drop["value"]) == (-2, -0.01)
    assert drop["interval"] == "bootstrap_percentile"
    assert -0.03 < drop["low"] < -0.01 < drop["high"] <= 0


def test_a_drop_that_is_the_same_for_all_images_has_an_exact_interval() -> None:
    clean, attacked = hand_made([1] * 50), hand_made([7] * 50)
    (drop,) = (
        row
        for row in metrics_of(attacked, clean)
        if row["metric"] == "recall_drop" and row["k"] == 1
    )
    assert (drop["value"], drop["high"], drop["interval"]) == (1.0, 1.0, "clopper_pearson")
    # 90 % in all, 5 % for the share won and 5 % for the share lost
    assert drop["low"] == pytest.approx(2 * 0.025 ** (1 / 50) - 1)


def test_images_that_are_not_attacked_are_not_resampled() -> None:
    """Numbers of some images, wherever they stand in the split, are those of a split of them."""
    clean, attacked = [1, 1, 1, 2, 1, 3], [1, 2, 1, 1, 4, 3]
    owners = [0, 0, 1, 2, 2, 3]
    whole = metrics_of(hand_made(attacked, images=owners), hand_made(clean, images=owners))
    places = [11, 11, 40, 41, 41, 999]
    part = metrics_of(hand_made(attacked, images=places), hand_made(clean, images=places))
    assert part == whole


def test_all_metrics_are_drawn_from_the_same_images() -> None:
    """A drop to nothing at rank 1 is the clean recall, bounds and all, whatever else is drawn."""
    rng = np.random.default_rng(5)
    clean = hand_made(rng.integers(1, 3, 701).tolist())
    attacked = hand_made(rng.choice([4, 99], 701).tolist())
    rows = [row for row in metrics_of(attacked, clean) if row["n_resamples"]]
    assert [(row["metric"], row["k"]) for row in rows] == [
        ("recall_at_k", 5),
        ("attack_success_rate", 5),
        ("recall_drop", 1),
        ("recall_drop", 5),
    ]
    recall = metrics_of(clean, None)[0]
    assert (recall["metric"], recall["k"]) == ("recall_at_k", 1)
    assert (rows[2]["low"], rows[2]["high"]) == (recall["low"], recall["high"])


def test_clean_outcomes_must_be_about_the_same_queries(made_up: World) -> None:
    world = made_up(0)
    with pytest.raises(ValueError, match="not about the same queries"):
        metrics_of(split_ranks(world, gallery_images=[6]), split_ranks(world, gallery_images=[12]))
