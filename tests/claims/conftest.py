"""Made-up cells whose outcomes are chosen so that a verdict must come out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmrobust.evaluation.cells import Origin, build_cell, cell_path, write_cell

N_IMAGES = 200


def _write(
    root: Path,
    *,
    defence: str,
    attack: str,
    correct: int,
    seed: int = 0,
    study: str = "made_up",
    shift: int = 0,
) -> None:
    """Write a cell in which `correct` of 200 image queries are answered, others not.

    Both labels and protocols and the captions (one an image) agree with that.
    """
    image = np.arange(N_IMAGES, dtype=np.int32)
    hit = np.random.default_rng(0).permutation(N_IMAGES)[:correct]
    rank = np.full(N_IMAGES, 7, dtype=np.int32)
    rank[hit] = 1
    frames = [
        pd.DataFrame(
            {
                "protocol": protocol,
                "direction": direction,
                "labels": labels,
                "gallery": np.int32(0),
                "query": image + np.int32(shift),
                "image": image,
                "rank": rank,
            }
        )
        for protocol in ("full_gallery", "own_pair")
        for direction in ("i2t", "t2i")
        for labels in ("one_image", "positives")
    ]
    origin = Origin(
        study=study,
        dataset="scenes",
        split="test",
        source_resolution=None,
        defence=defence,
        seed=seed,
    )
    facts: dict[str, Any] = {
        "counts": {
            "images": N_IMAGES,
            "captions": N_IMAGES,
            "galleries": 1,
            "gallery_images": N_IMAGES,
            "gallery_captions": N_IMAGES,
        },
        "positives_per_query": {"i2t": 1.0, "t2i": 1.0},
    }
    cell = build_cell(
        origin,
        attack=attack,
        attack_config={},
        threat_model=None,
        facts=facts,
        outcomes=pd.concat(frames, ignore_index=True),
        clean_outcomes=None,
        ks=(1,),
        n_resamples=10,
        confidence=0.95,
        checks={},
    )
    write_cell(cell_path(root, defence=defence, seed=seed, attack=attack), cell)


@pytest.fixture(scope="session")
def write_made_up_cell() -> Callable[..., None]:
    return _write
