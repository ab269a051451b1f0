from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmrobust.attacks.text_search.base import Language
from mmrobust.config import build
from mmrobust.data.prepared import load_split
from mmrobust.errors import UserError
from mmrobust.models.dual_encoder import ModelConfig, build_model
from mmrobust.models.encoding import to_pixels
from mmrobust.training.loop import (
    PairSampler,
    TrainingConfig,
    learning_rate_at,
    make_optimizer,
    train,
)
from mmrobust.training.standard import Standard

CONFIG = TrainingConfig(epochs=1, batch_size=4, learning_rate=0.1, warmup_fraction=0.1)


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine() -> None:
    rates = [learning_rate_at(step, 100, CONFIG) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) / 10 for step in range(10)])
    assert rates[10] == pytest.approx(0.1)
    assert rates[55] == pytest.approx(0.05)
    assert rates[99] == pytest.approx(0.05 * (1 + math.cos(math.pi * 89 / 90)))
    assert learning_rate_at(100, 100, CONFIG) == pytest.approx(0.0)


def test_an_epoch_visits_every_image_once_with_a_caption_of_its_own(data: Path) -> None:
    split = load_split(data, "train")
    sampler = PairSampler(split, batch_size=16, seed=0)
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
    one, same = (PairSampler(split, batch_size=16, seed=0).batch(4) for _ in range(2))
    other = PairSampler(split, batch_size=16, seed=1).batch(4)
    assert torch.equal(one.images, same.images)
    assert one.captions == same.captions
    assert one.captions != other.captions


def test_bytes_become_pixels() -> None:
    images = np.array([[[[0, 128, 255]]]], dtype=np.uint8)  # (1, 1, 1, 3)
    torch.testing.assert_close(
        to_pixels(images), torch.tensor([0.0, 128 / 255, 1.0]).view(1, 3, 1, 1)
    )


def test_a_batch_beyond_the_data_is_refused(data: Path) -> None:
    with pytest.raises(UserError, match=r"training\.batch_size: 49 exceeds the 48"):
        PairSampler(load_split(data, "train"), batch_size=49, seed=0)


def test_only_matrices_decay(tokenizer: Path, cfg: Callable[..., dict[str, Any]]) -> None:
    model = build_model(
        build(ModelConfig, cfg()["model"], where="model"), tokenizer=tokenizer, seed=0
    )
    decayed, kept = make_optimizer(model, CONFIG).param_groups
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim < 2 for p in kept["params"])
    assert decayed["weight_decay"] == CONFIG.weight_decay
    assert kept["weight_decay"] == 0
    count = len(decayed["params"]) + len(kept["params"])
    assert count == len(list(model.parameters()))


def test_a_diverging_run_is_told(
    data: Path, tokenizer: Path, cfg: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    model = build_model(
        build(ModelConfig, cfg()["model"], where="model"), tokenizer=tokenizer, seed=0
    )
    with torch.no_grad():
        model.clip.text_projection.fill_(float("nan"))  # type: ignore[union-attr,operator]
    with pytest.raises(UserError, match="the loss is nan at step 0"):
        train(
            model,
            load_split(data, "train"),
            Standard(),
            CONFIG,
            language=Language(),
            seed=0,
            state_file=tmp_path / "state.pt",
        )


def test_training_learns(
    data: Path, tokenizer: Path, cfg: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    model = build_model(
        build(ModelConfig, cfg()["model"], where="model"), tokenizer=tokenizer, seed=0
    )
    history = train(
        model,
        load_split(data, "train"),
        Standard(),
        TrainingConfig(epochs=12, batch_size=16, learning_rate=0.003),
        language=Language(),
        seed=0,
        state_file=tmp_path / "state.pt",
    )
    first, last = (np.mean([row[3] for row in part]) for part in (history[:3], history[-3:]))
    assert last < first - 0.3
