from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from mmrobust.attacks.text_search.base import Language
from mmrobust.config import build
from mmrobust.data.prepared import load_split
from mmrobust.errors import UserError
from mmrobust.models.dual_encoder import ModelConfig, OpenClipDualEncoder, build_model
from mmrobust.models.encoding import to_pixels
from mmrobust.training.base import Setting, TrainingBatch, TrainingMethod
from mmrobust.training.fare import FARE
from mmrobust.training.leaf import LEAF
from mmrobust.training.loop import (
    TrainingConfig,
    descend,
    learning_rate_at,
    make_optimizer,
    train,
)
from mmrobust.training.pairs import PairSampler, TrainingData
from mmrobust.training.pmg_aft import PMGAFT
from mmrobust.training.standard import Standard
from mmrobust.training.tecoa import TeCoA

CONFIG = TrainingConfig(epochs=1, batch_size=4, learning_rate=0.1, warmup_fraction=0.1)


@pytest.fixture
def model(tokenizer: Path, cfg: Callable[..., dict[str, Any]]) -> OpenClipDualEncoder:
    return build_model(
        build(ModelConfig, cfg()["model"], where="model"), tokenizer=tokenizer, seed=0
    )


Learn = Callable[[TrainingMethod, TrainingConfig], list[tuple[int, int, float, float]]]


@pytest.fixture
def learn(model: OpenClipDualEncoder, data: Path, tmp_path: Path) -> Learn:
    """Train `model` on the training split."""

    def run(method: TrainingMethod, config: TrainingConfig) -> list[tuple[int, int, float, float]]:
        return train(
            model,
            TrainingData.of(load_split(data, "train")),
            method,
            config,
            language=Language(),
            seed=0,
            state_file=tmp_path / "state.pt",
        )

    return run


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine() -> None:
    rates = [learning_rate_at(step, 100, CONFIG) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) / 10 for step in range(10)])
    assert rates[10] == pytest.approx(0.1)
    assert rates[55] == pytest.approx(0.05)
    assert rates[99] == pytest.approx(0.05 * (1 + math.cos(math.pi * 89 / 90)))
    assert learning_rate_at(100, 100, CONFIG) == pytest.approx(0.0)


def test_bytes_become_pixels() -> None:
    images = np.array([[[[0, 128, 255]]]], dtype=np.uint8)  # (1, 1, 1, 3)
    torch.testing.assert_close(
        to_pixels(images), torch.tensor([0.0, 128 / 255, 1.0]).view(1, 3, 1, 1)
    )


def test_only_matrices_decay(model: OpenClipDualEncoder) -> None:
    decayed, kept = make_optimizer(model, CONFIG).param_groups
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim < 2 for p in kept["params"])
    assert decayed["weight_decay"] == CONFIG.weight_decay
    assert kept["weight_decay"] == 0
    count = len(decayed["params"]) + len(kept["params"])
    assert count == len(list(model.parameters()))


def test_a_diverging_run_is_told(model: OpenClipDualEncoder, learn: Learn) -> None:
    with torch.no_grad():
        model.clip.text_projection.fill_(float("nan"))  # type: ignore[union-attr,operator]
    with pytest.raises(UserError, match="the loss is nan at step 0"):
        learn(Standard(), CONFIG)


def test_training_learns(learn: Learn) -> None:
    history = learn(Standard(), TrainingConfig(epochs=12, batch_size=16, learning_rate=0.003))
    first, last = (np.mean([row[3] for row in part]) for part in (history[:3], history[-3:]))
    assert last < first - 0.3


@pytest.mark.parametrize(
    ("method", "moves"),
    [
        pytest.param(FARE(steps=1), {"image"}, id="fare"),
        pytest.param(LEAF(rho=2, constrained=False), {"text"}, id="leaf"),
        pytest.param(Standard(towers="image"), {"image"}, id="image tower"),
        pytest.param(TeCoA(steps=1), {"image"}, id="tecoa"),
        pytest.param(PMGAFT(steps=1), {"image"}, id="pmg_aft"),
        pytest.param(Standard(), {"image", "text", "scale"}, id="both towers"),
    ],
)
def test_only_what_should_train_moves(
    method: TrainingMethod,
    moves: set[str],
    model: OpenClipDualEncoder,
    learn: Learn,
) -> None:
    before = copy.deepcopy(model.state_dict())
    learn(method, CONFIG)
    moved = {
        "image" if "visual" in name else "scale" if "logit_scale" in name else "text"
        for name, value in model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved == moves


class Killed(Exception):
    """Stands for a signal."""


@dataclass(frozen=True, kw_only=True)
class DyingFARE(FARE):
    """Raises when the image of a step comes up."""

    dies: ClassVar[int | None] = None
    steps_seen: ClassVar[list[int]] = []

    def losses(self, model: Any, batch: Any, setting: Setting) -> dict[str, Tensor]:
        self.steps_seen.append(len(self.steps_seen))
        if len(self.steps_seen) == self.dies:
            raise Killed
        return super().losses(model, batch, setting)


def test_a_resumed_run_is_held_to_the_same_start(
    data: Path,
    model: OpenClipDualEncoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(state: str) -> dict[str, Tensor]:
        trained = copy.deepcopy(model)
        train(
            trained,
            TrainingData.of(load_split(data, "train")),
            DyingFARE(steps=1),
            CONFIG,
            language=Language(),
            seed=0,
            state_file=tmp_path / state,
            checkpoint_seconds=0,
        )
        return trained.state_dict()

    undisturbed = run("one.pt")
    monkeypatch.setattr(DyingFARE, "dies", len(DyingFARE.steps_seen) + 7)
    with pytest.raises(Killed):
        run("two.pt")
    resumed = run("two.pt")
    assert resumed.keys() == undisturbed.keys()
    assert all(torch.equal(resumed[name], value) for name, value in undisturbed.items())


def test_no_epoch_leaves_the_model_as_it_is(model: OpenClipDualEncoder, learn: Learn) -> None:
    before = copy.deepcopy(model.state_dict())
    history = learn(Standard(), TrainingConfig(epochs=0, batch_size=16, learning_rate=0.1))
    assert history == []
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@dataclass(frozen=True, kw_only=True)
class Noting(Standard):
    """Notes what each step is given, and what it draws."""

    batches: ClassVar[list[TrainingBatch]] = []
    drawn: ClassVar[list[int]] = []

    def losses(self, model: Any, batch: TrainingBatch, setting: Setting) -> dict[str, Tensor]:
        self.batches.append(batch)
        edit = torch.randint(2**60, (1,), generator=setting.generator)
        self.drawn.extend([*setting.noise.integers(2**60).tolist(), int(edit)])
        return super().losses(model, batch, setting)


@pytest.fixture
def noting(monkeypatch: pytest.MonkeyPatch) -> Noting:
    monkeypatch.setattr(Noting, "batches", [])
    monkeypatch.setattr(Noting, "drawn", [])
    return Noting()


def test_perturbations_and_edits_are_drawn_anew_in_each_step(learn: Learn, noting: Noting) -> None:
    learn(noting, CONFIG)
    assert len(noting.batches) == 12
    assert len(noting.drawn) == len(set(noting.drawn)) == 12 * (4 + 1)


def test_batches_have_the_pairs_and_positives_that_are_configured(
    learn: Learn, noting: Noting, data: Path
) -> None:
    learn(noting, replace(CONFIG, batch_size=48, pairs="all", positives="exact"))
    pairs = TrainingData.of(load_split(data, "train"))
    exact, by_item = (
        PairSampler(pairs, batch_size=48, seed=0, pairs="all", positives=positives).batch(0)
        for positives in ("exact", "item")
    )
    assert (exact.positives & ~by_item.positives).any()
    (batch,) = noting.batches
    assert batch.captions == exact.captions
    assert torch.equal(batch.positives, exact.positives)


def test_history_says_step_epoch_and_rate(learn: Learn) -> None:
    config = TrainingConfig(epochs=2, batch_size=16, learning_rate=0.001)
    history = learn(Standard(), config)
    assert [row[:2] for row in history] == [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1)]
    assert [row[2] for row in history] == [learning_rate_at(step, 6, config) for step in range(6)]


def test_a_step_is_as_long_as_its_rate_and_its_clipped_gradient() -> None:
    model = torch.nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=7.0)
    for most, moved in ((1.0, [-0.3, -0.4]), (10.0, [-1.5, -2.0])):
        torch.nn.init.zeros_(model.weight)
        loss = model(torch.tensor([[3.0, 4.0]])).sum()  # its gradient has length 5
        descend(loss, model, optimizer, 0.5, most)
        assert model.weight[0].tolist() == pytest.approx(moved)


def test_the_scale_of_similarities_stays_below_its_limit(
    model: OpenClipDualEncoder, learn: Learn
) -> None:
    with torch.no_grad():
        model.clip.logit_scale.fill_(9.0)  # type: ignore[union-attr,operator]
    learn(Standard(), CONFIG)
    assert float(model.scale().detach()) <= 100.001


@pytest.mark.parametrize(("method", "moves"), [(FARE(steps=1), False), (Standard(), True)])
def test_what_is_held_to_the_original_keeps_its_running_statistics(
    method: TrainingMethod, moves: bool, model: OpenClipDualEncoder, learn: Learn
) -> None:
    before = copy.deepcopy(model.state_dict())
    learn(method, CONFIG)
    running = {name: of for name, of in model.state_dict().items() if "running_" in name}
    assert running
    assert all(torch.equal(of, before[name]) != moves for name, of in running.items())
