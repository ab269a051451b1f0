"""The one training loop: AdamW, warm-up and cosine, checkpoints, exact resume.

Every random draw comes from a generator derived from the seed and the step, so a run that was
killed and resumed goes through the same batches and perturbations as one that was not.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from mmrobust.artifacts import replacing
from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.text_search.base import Language
from mmrobust.errors import UserError
from mmrobust.models.dual_encoder import OpenClipDualEncoder
from mmrobust.progress import progress_bar
from mmrobust.quantities import (
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from mmrobust.randomness import torch_generator
from mmrobust.training.base import Setting, TrainingBatch, TrainingMethod
from mmrobust.training.pairs import Pairs, PairSampler, Positives, TrainingData

HISTORY_COLUMNS = ("step", "epoch", "learning_rate", "loss")


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """Hyper-parameters of AdamW and its schedule.

    Fields:
        epochs: passes over what is learned from; 0 leaves a model as it is.
        batch_size: items in a step; a last incomplete batch of an epoch is left out.
        learning_rate: peak, reached after warm-up and followed by a cosine to zero.
        warmup_fraction: share of all steps in which the rate rises linearly.
        weight_decay: of matrices; gains, biases and the logit scale are not decayed.
        max_gradient_norm: gradients are scaled down to it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    epochs: NonNegativeInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    warmup_fraction: Fraction = 0.1
    weight_decay: NonNegativeFloat = 0.05
    max_gradient_norm: PositiveFloat = 1.0


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(OptimiserConfig):
    """Hyper-parameters of the loop, shared by all training methods of a study.

    Fields:
        items: how many of the training items are learned from, the first ones; None for all. A
            model that was trained on all can be fine-tuned on fewer, as a large pretrained one is.
        captions_per_image: how many of a dataset's captions of an image are learned from, in
            their order; None for all.
        pairs: one (an item enters a step with one image and one caption, drawn anew each time) or
            all (with all its images and captions, as multi-positives).
        positives: item (images and captions of one item belong together) or exact (also a
            caption and an image of another item of which it is true).
    """

    items: PositiveInt | None = None
    captions_per_image: PositiveInt | None = None
    pairs: Pairs = "one"
    positives: Positives = "item"


def learning_rate_at(step: int, total: int, config: OptimiserConfig) -> float:
    """Rate of step `step` of `total`: linear warm-up, then a cosine that ends at zero."""
    warmup = max(1, round(config.warmup_fraction * total))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(model: torch.nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only, as CLIP trains (section 2.5)."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), eps=1e-6)


@dataclass
class TrainingState:
    """All that a resumed run needs beside configuration and data."""

    model: OpenClipDualEncoder
    optimizer: torch.optim.AdamW
    step: int
    history: list[tuple[int, int, float, float]]
    inputs: str

    def save(self, path: Path) -> None:
        """Write the state atomically: a kill leaves the last whole one."""
        # Through a stream of Python's, torch says what the disk said.
        with replacing(path) as temporary, temporary.open("wb") as stream:
            torch.save(
                {
                    "model": self.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "inputs": self.inputs,
                    "step": self.step,
                    "history": self.history,
                },
                stream,
            )

    def load(self, path: Path) -> None:
        """Go on from a saved state, unless it is of other inputs: then start anew.

        Raises:
            UserError: the file is no training state.
        """
        try:
            saved = torch.load(path, weights_only=True, map_location=self.model.device)
            if saved["inputs"] != self.inputs:
                return
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
        except Exception as error:
            raise UserError(
                f"{path}: not a training state of this model ({error}); delete it to start anew"
            ) from None
        self.step, self.history = saved["step"], [tuple(row) for row in saved["history"]]


def train(
    model: OpenClipDualEncoder,
    data: TrainingData,
    method: TrainingMethod,
    config: TrainingConfig,
    *,
    language: Language,
    seed: int,
    state_file: Path,
    inputs: str = "",
    checkpoint_seconds: float = 30.0,
) -> list[tuple[int, int, float, float]]:
    """Train in place and return one row of `HISTORY_COLUMNS` a step.

    Args:
        model: the model, already on its device.
        data: what is learned from.
        method: what is minimised.
        config: hyper-parameters of the loop.
        language: what methods that attack text know of the language.
        seed: of batches and perturbations.
        state_file: resumable state; read if it exists, rewritten every `checkpoint_seconds`.
        inputs: digest of all that the run is made from; a state of other inputs is not used.
        checkpoint_seconds: wall time between states; it changes no result.

    Raises:
        UserError: the loss is not finite, or the state file is broken.
    """
    sampler = PairSampler(
        data,
        batch_size=config.batch_size,
        seed=seed,
        pairs=config.pairs,
        positives=config.positives,
    )
    original = frozen_copy(model) if method.needs_original else None
    # What is held to the original's embeddings must see what the original sees.
    model.train_towers(method.trained(), batch_statistics=not method.needs_original)
    state = TrainingState(model, make_optimizer(model, config), 0, [], inputs)
    if state_file.exists():
        state.load(state_file)
    total = config.epochs * sampler.steps_per_epoch
    saved_at = time.monotonic()
    for step in _progress(state, total, config.batch_size):
        rate = learning_rate_at(step, total, config)
        batch = sampler.batch(step)
        setting = Setting(
            language=language,
            noise=ItemNoise.of(seed, "perturbations", step, items=range(len(batch.images))),
            generator=torch_generator(seed, "edits", step),
            original=original,
        )
        loss = take_step(state, method, batch, setting, rate, config.max_gradient_norm)
        state.step = step + 1
        state.history.append((step, step // sampler.steps_per_epoch, rate, loss))
        if time.monotonic() - saved_at >= checkpoint_seconds:
            state.save(state_file)
            saved_at = time.monotonic()
    model.eval()
    return state.history


def _progress(state: TrainingState, total: int, batch_size: int) -> Iterator[int]:
    """Count the steps that are left, showing loss, items per second and time left."""
    first = state.step
    with progress_bar(total=total * batch_size, initial=first * batch_size, unit="item") as bar:
        for step in range(first, total):
            yield step
            bar.set_postfix(loss=f"{state.history[-1][3]:.3f}", refresh=False)
            bar.update(batch_size)


def frozen_copy(model: OpenClipDualEncoder) -> OpenClipDualEncoder:
    """The model as it is now, in eval mode, whatever becomes of it."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def take_step(
    state: TrainingState,
    method: TrainingMethod,
    batch: TrainingBatch,
    setting: Setting,
    rate: float,
    max_gradient_norm: float,
) -> float:
    """One optimiser step; the loss before it."""
    device = state.model.device
    batch = TrainingBatch(batch.images.to(device), batch.captions, batch.positives.to(device))
    losses = method.losses(state.model, batch, setting)
    loss = torch.stack(list(losses.values())).sum()
    if not torch.isfinite(loss):
        raise UserError(
            f"training: the loss is {loss.item()} at step {state.step}; "
            "lower training.learning_rate"
        )
    descend(loss, state.model, state.optimizer, rate, max_gradient_norm)
    with torch.no_grad():
        state.model.clip_scale()
    return float(loss.detach())


def descend(
    loss: Tensor,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    rate: float,
    max_gradient_norm: float,
) -> None:
    """One optimiser step down a loss, at a learning rate, with gradients clipped."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_gradient_norm)
    optimizer.step()
