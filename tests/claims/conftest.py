"""Made-up cells whose outcomes are chosen so that a verdict must come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmrobust.config import EvaluationConfig
from mmrobust.evaluation.cells import Origin, build_cell, cell_path, write_cell
from mmrobust.evaluation.retrieval import of_items

N_IMAGES = 200


def _write(
    root: Path,
    *,
    defence: str,
    attack: str,
    correct: int | Sequence[int],
    seed: int = 0,
    study: str = "made_up",
    shift: int = 0,
    correct_in: Mapping[int, int] | None = None,
    captions_right: int | None = None,
    source_resolution: str | None = None,
    items: Sequence[int] | None = None,
) -> None:
    """Write a cell in which `correct` of 200 image queries are answered, others not.

    A list of `correct` says which; a number always means the same ones, and fewer of them.
    Both labels and protocols and the captions (one an image) agree with that. `correct` is for
    the main gallery, all 200 images, and `correct_in` for further gallery sizes. With
    `captions_right`, an image has five captions, and as many of the 1,000 are answered. With
    `items`, the cell is of these images alone, under own_pair.
    """
    image = np.arange(N_IMAGES, dtype=np.int32)
    asked = {"i2t": image, "t2i": image if captions_right is None else np.repeat(image, 5)}
    sizes = {N_IMAGES: correct, **(correct_in or {})}
    frames = [
        pd.DataFrame(
            {
                "protocol": protocol,
                "direction": direction,
                "labels": labels,
                "gallery_images": np.int32(size),
                "gallery": asked[direction] // np.int32(size),
                "query": np.arange(len(asked[direction]), dtype=np.int32) + np.int32(shift),
                "image": asked[direction],
                "rank": _ranks(
                    right if direction == "i2t" or captions_right is None else captions_right,
                    among=len(asked[direction]),
                ),
                "caption_true": np.int8(-1),
            }
        )
        for size, right in sizes.items()
        for protocol in ("full_gallery", "own_pair")
        for direction in ("i2t", "t2i")
        for labels in ("one_image", "positives")
    ]
    outcomes = pd.concat(frames, ignore_index=True)
    origin = Origin(
        study=study,
        dataset="scenes",
        split="test",
        source_resolution=source_resolution,
        defence=defence,
        seed=seed,
    )
    galleries = [
        {
            "gallery_images": size,
            "galleries": N_IMAGES // size,
            "gallery_captions": size * len(asked["t2i"]) // N_IMAGES,
            "positives_per_query": {"i2t": 1.0, "t2i": 1.0},
        }
        for size in sizes
    ]
    cell = build_cell(
        origin,
        attack=attack,
        attack_config={},
        threat_model=None,
        curve=None,
        counts={"images": N_IMAGES, "captions": len(asked["t2i"]), "galleries": galleries},
        outcomes=outcomes if items is None else of_items(outcomes, items),
        clean_outcomes=None,
        config=EvaluationConfig(gallery_images=(1,), ks=(1,), n_resamples=10),
        checks={},
    )
    write_cell(cell_path(root, defence=defence, seed=seed, attack=attack), cell)


def _ranks(correct: int | Sequence[int], *, among: int) -> np.ndarray:
    rank = np.full(among, 7, dtype=np.int32)
    if isinstance(correct, int):
        correct = np.random.default_rng(0).permutation(among)[:correct].tolist()
    rank[list(correct)] = 1
    return rank


@pytest.fixture(scope="session")
def write_made_up_cell() -> Callable[..., None]:
    return _write
