from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmrobust.evaluation.intervals import Resampling
from mmrobust.evaluation.metrics import cell_metrics, cell_rates
from mmrobust.evaluation.retrieval import Embeddings, split_ranks

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
    assert len(found) == 2 * 8 * 2
    for metric in found:
        at, k = {key: metric[key] for key in KEYS[1:5]}, metric["k"]
        rows = np.logical_and.reduce([outcomes[key] == value for key, value in at.items()])
        pairs = list(zip(outcomes["rank"][rows], clean["rank"][rows], strict=True))
        if metric["metric"] == "recall_at_k":
            n, successes = len(pairs), sum(rank <= k for rank, _ in pairs)
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


def test_clean_outcomes_must_be_about_the_same_queries(made_up: World) -> None:
    world = made_up(0)
    with pytest.raises(ValueError, match="not about the same queries"):
        metrics_of(split_ranks(world, gallery_images=[6]), split_ranks(world, gallery_images=[12]))
