"""Small made-up galleries for the tests of evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from mmrobust.evaluation.retrieval import Embeddings, split_ranks


def _unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def _made_up(
    seed: int,
    *,
    n_images: int = 12,
    max_captions: int = 3,
    strength: float = 0.8,
    rounded: bool = False,
) -> Embeddings:
    rng = np.random.default_rng(seed)
    caption_image = np.repeat(np.arange(n_images), rng.integers(1, max_captions + 1, n_images))
    meaning = rng.normal(size=(n_images, 6))
    words = meaning[caption_image] + rng.normal(size=(len(caption_image), 6))

    def finish(values: np.ndarray) -> np.ndarray:
        return np.clip(values.round(), -1, 1).astype(np.float32) if rounded else _unit(values)

    positives = rng.random((len(caption_image), n_images)) < 0.1
    positives[np.arange(len(caption_image)), caption_image] = True
    return Embeddings(
        clean_image=finish(meaning),
        clean_text=finish(words),
        adversarial_image=finish(meaning + strength * rng.normal(size=meaning.shape)),
        adversarial_text=finish(words + strength * rng.normal(size=words.shape)),
        caption_image=caption_image,
        positives=sp.csr_array(positives),
    )


@pytest.fixture(scope="session")
def made_up() -> Callable[..., Embeddings]:
    """Makes images with some captions each, some of them true of several images.

    `rounded` embeddings have coordinates -1, 0 or 1, so that scores tie exactly and often.
    """
    return _made_up


@pytest.fixture(scope="session")
def outcomes_of() -> Callable[..., pd.DataFrame]:
    """Makes the outcomes of a cell of a world, in which no caption's truth is decided."""

    def made(world: Embeddings, *, gallery_images: Sequence[int]) -> pd.DataFrame:
        return split_ranks(world, gallery_images=gallery_images).assign(caption_true=np.int8(-1))

    return made


@pytest.fixture(scope="session")
def threat_model() -> Callable[..., dict[str, Any]]:
    """Makes the threat model of a record: white box, l-inf, one word, unless told otherwise."""

    def made(**changes: Any) -> dict[str, Any]:
        return {
            "name": "both",
            "knowledge": "white_box",
            "source": None,
            "image": {"norm": "linf", "eps": 2 / 255},
            "text": {"words": 1, "characters": None, "keeps_truth": False},
            **changes,
        }

    return made


@pytest.fixture(scope="session")
def unattacked() -> Callable[[Embeddings], Embeddings]:
    """Makes the clean cell's embeddings of a world."""
    return lambda world: replace(
        world, adversarial_image=world.clean_image, adversarial_text=world.clean_text
    )
