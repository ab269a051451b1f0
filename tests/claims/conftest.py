"""Made-up cells whose outcomes are chosen so that a verdict must come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

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
    correct_in: Mapping[int, int] | None = None,
) -> None:
    """Write a cell in which `correct` of 200 image queries are answered, others not.

    Both labels and protocols and the captions (one an image) agree with that. `correct` is for
    the main gallery, all 200 images, and `correct_in` for further gallery sizes.
    """
    image = np.arange(N_IMAGES, dtype=np.int32)
    sizes = {N_IMAGES: correct, **(correct_in or {})}
    frames = [
        pd.DataFrame(
            {
                "protocol": protocol,
                "direction": direction,
                "labels": labels,
                "gallery_images": np.int32(size),
                "gallery": image // np.int32(size),
                "query": image + np.int32(shift),
                "image": image,
                "rank": _ranks(right),
            }
        )
        for size, right in sizes.items()
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
    galleries = [
        {
            "gallery_images": size,
            "galleries": N_IMAGES // size,
            "gallery_captions": size,
            "positives_per_query": {"i2t": 1.0, "t2i": 1.0},
        }
        for size in sizes
    ]
    cell = build_cell(
        origin,
        attack=attack,
        attack_config={},
        threat_model=None,
        counts={"images": N_IMAGES, "captions": N_IMAGES, "galleries": galleries},
        outcomes=pd.concat(frames, ignore_index=True),
        clean_outcomes=None,
        ks=(1,),
        n_resamples=10,
        confidence=0.95,
        checks={},
    )
    write_cell(cell_path(root, defence=defence, seed=seed, attack=attack), cell)


def _ranks(correct: int) -> np.ndarray:
    rank = np.full(N_IMAGES, 7, dtype=np.int32)
    rank[np.random.default_rng(0).permutation(N_IMAGES)[:correct]] = 1
    return rank


@pytest.fixture(scope="session")
def write_made_up_cell() -> Callable[..., None]:
    return _write
