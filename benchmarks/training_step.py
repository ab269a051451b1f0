"""Time of one MAT step over the time of the passes that it can't avoid.

The bare passes run on prebuilt tensors of the shapes that the step has: the clean images once
without gradients, each distinct text row once at its true length, `steps` image passes with
gradients to pixels only, one forward and backward of what trains, one optimiser step. Steps and
passes take turns in one process, so that a busy machine slows both; the ratio is of medians.

Usage: python benchmarks/training_step.py [--study config/scenes.yaml] [--rounds 20]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.run import evaluation_mode
from mmrobust.attacks.text_search.base import Language
from mmrobust.config import build
from mmrobust.data.prepared import load_lexicon, load_split
from mmrobust.data.scenes.dataset import Scenes
from mmrobust.models.dual_encoder import ModelConfig, OpenClipDualEncoder, build_model
from mmrobust.models.encoding import embed_images, token_lengths
from mmrobust.models.tokenizer import (
    TokenizerConfig,
    save_tokenizer,
    train_tokenizer,
)
from mmrobust.randomness import torch_generator
from mmrobust.study import Study, load_study
from mmrobust.training.base import Setting, TrainingBatch
from mmrobust.training.loop import (
    TrainingConfig,
    TrainingState,
    make_optimizer,
    take_step,
)
from mmrobust.training.mat import MAT
from mmrobust.training.pairs import PairSampler, TrainingData
from mmrobust.training.run import build_method
from mmrobust.training.text_adversary import adversarial_captions


@dataclass(frozen=True)
class Passes:
    """What a MAT step can't avoid, on tensors made beforehand; each field is one part's work."""

    parts: dict[str, Callable[[], object]]

    def times(self) -> dict[str, float]:
        """Seconds of each part."""
        return {name: seconds(part) for name, part in self.parts.items()}


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class TextRows:
    """Stands in for a model and notes which distinct captions are encoded."""

    def __init__(self, model: OpenClipDualEncoder) -> None:
        self.model = model
        self.device = model.device
        self.rows: dict[str, None] = {}

    def tokenize(self, captions: list[str]) -> Tensor:
        """Note the captions, then tokenise them."""
        self.rows |= dict.fromkeys(captions)
        return self.model.tokenize(captions)

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Encode as the model does."""
        return self.model.encode_tokens(tokens)


def bare_passes(
    state: TrainingState, method: MAT, batch: TrainingBatch, language: Language
) -> Passes:
    """Prebuild tensors of the shapes that this batch's step has."""
    model = state.model
    noting = TextRows(model)
    with evaluation_mode(model):
        guide = embed_images(model, batch.images)
        captions, _ = adversarial_captions(
            noting,  # type: ignore[arg-type]
            batch.captions,
            guide,
            batch.positives,
            words=method.words,
            language=language,
        )
    tokens = model.tokenize(list(noting.rows))
    lengths = token_lengths(tokens)
    groups = [tokens[lengths == n, : int(n)].clone() for n in lengths.unique()]
    outer_tokens = model.tokenize(captions)
    pixels = batch.images.clone().requires_grad_()
    images = batch.images.clone()

    # The inner attack runs in eval mode, and so do its passes here.
    def clean_images() -> None:
        with evaluation_mode(model), torch.no_grad():
            model.encode_image(images)

    def text_rows() -> None:
        with evaluation_mode(model), torch.no_grad():
            for group in groups:
                model.encode_tokens(group)

    def image_gradients() -> None:
        with evaluation_mode(model):
            for _ in range(method.steps):
                torch.autograd.grad(model.encode_image(pixels).sum(), pixels)

    def outer() -> None:
        state.optimizer.zero_grad(set_to_none=True)
        text = model.encode_tokens(outer_tokens)
        torch.autograd.backward((model.scale() * (model.encode_image(images) * text)).sum())

    return Passes(
        {
            "clean_images": clean_images,
            "text_rows": text_rows,
            "image_gradients": image_gradients,
            "outer_forward_backward": outer,
            "optimiser_step": state.optimizer.step,
        }
    )


def measure(study: Study, rounds: int) -> dict[str, object]:
    """Medians over `rounds` batches of the step, of the passes, and of their parts."""
    torch.set_num_threads(study.threads)
    section = {key: value for key, value in study.dataset.items() if key != "name"}
    config = build(TrainingConfig, study.training, where="training")
    images = (rounds + 3) * config.batch_size
    section["splits"] = {"train": images, "dev": 10, "test": 10}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        build(Scenes, section, where="dataset").prepare(data, seed=study.data_seed)
        split, language = load_split(data, "train"), Language(**vars(load_lexicon(data)))
        tokenizer = data / "tokenizer.json"
        learned = build(TokenizerConfig, study.tokenizer, where="tokenizer")
        save_tokenizer(train_tokenizer(split.captions, learned), tokenizer)
        model = build_model(
            build(ModelConfig, study.model, where="model"), tokenizer=tokenizer, seed=0
        )
    method = next(
        method
        for method in (build_method(section) for section in study.defences.values())
        if isinstance(method, MAT)
    )
    sampler = PairSampler(TrainingData.of(split), batch_size=config.batch_size, seed=0)
    state = TrainingState(model, make_optimizer(model, config), 0, [], "")
    model.train()
    steps, passes, parts = [], [], []
    for number in range(rounds + 3):
        batch = sampler.batch(number)
        bare = bare_passes(state, method, batch, language)

        def step(number: int = number) -> None:
            batch = sampler.batch(number)
            setting = Setting(
                language=language,
                noise=ItemNoise.of(0, "perturbations", number, items=range(config.batch_size)),
                generator=torch_generator(0, "edits", number),
            )
            take_step(state, method, batch, setting, 0.0, config.max_gradient_norm)

        step_s, part_s = seconds(step), bare.times()
        if number < 3:
            continue  # first passes warm caches up
        steps.append(step_s)
        passes.append(sum(part_s.values()))
        parts.append(part_s)
        print(
            f"round {number - 2}/{rounds}: step {step_s * 1e3:.0f} ms, "
            f"passes {passes[-1] * 1e3:.0f} ms",
            file=sys.stderr,
        )
    return {
        "mat_step_over_passes": statistics.median(steps) / statistics.median(passes),
        "mat_step_s": statistics.median(steps),
        "passes_s": statistics.median(passes),
        "parts_s": {name: statistics.median(part[name] for part in parts) for name in parts[0]},
        "batch_size": config.batch_size,
        "rounds": rounds,
    }


def main() -> None:
    """Print progress to stderr and one line of JSON to stdout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, default=Path("config/scenes.yaml"))
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    print(json.dumps(measure(load_study(arguments.study), arguments.rounds)))


if __name__ == "__main__":
    main()
