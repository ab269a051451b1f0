"""Time of an image attack over the time of the forward and backward passes that it needs."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from attack_inputs import CAPTIONS, PER_IMAGE, Inputs
from torch import Tensor

from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.run import RetrievalBatch, Run, evaluation_mode
from mmrobust.attacks.steps import ImageStep
from mmrobust.attacks.text_search.base import Language
from mmrobust.config import build
from mmrobust.models.dual_encoder import ModelConfig, OpenClipDualEncoder, build_model
from mmrobust.models.tokenizer import TokenizerConfig, save_tokenizer, train_tokenizer
from mmrobust.randomness import torch_generator
from mmrobust.study import load_study
from mmrobust.threat import ImageBudget, ThreatModel

STUDY = Path(__file__).resolve().parents[1] / "config" / "scenes.yaml"
THREAT_MODEL = ThreatModel(image=ImageBudget(eps=2 / 255))
SCALES = {"pgd": (), "sga": (0.5, 0.75, 1.25, 1.5)}
STEPS = 3
IMAGES = 50


def image_attack_over_passes(inputs: Inputs, *, rounds: int, quick: bool) -> dict[str, object]:
    """Ratios of medians: on the study's model, and on a few images of `inputs`.

    The headline is the larger of the two attacks' ratios on the study's model.
    """
    model = study_model()
    images = 4 if quick else IMAGES
    size = int(model.clip.visual.image_size)  # type: ignore[union-attr, arg-type]
    found = {
        "study": over_passes(model, images, size, STEPS, rounds),
        "vit_b_32": over_passes(inputs.model, 2, inputs.batch.images.shape[-1], 1, -(-rounds // 4)),
    }
    return {
        "image_attack_over_passes": max(ratio for ratio in found["study"].values()),
        "image_attacks_over_passes": found,
    }


def study_model() -> OpenClipDualEncoder:
    """The study's architecture with random weights."""
    study = load_study(STUDY)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Path(folder) / "tokenizer.json"
        learned = build(TokenizerConfig, study.tokenizer, where="tokenizer")
        save_tokenizer(train_tokenizer(CAPTIONS, learned), tokenizer)
        config = build(ModelConfig, study.model, where="model")
        return build_model(config, tokenizer=tokenizer, seed=0).eval()


def over_passes(
    model: OpenClipDualEncoder, images: int, size: int, steps: int, rounds: int
) -> dict[str, float]:
    """Each attack's image step over its bare passes; they take turns, ratios are of medians."""
    pixels = torch.rand((images, 3, size, size), generator=torch_generator(0, "pixels"))
    captions = [CAPTIONS[row % len(CAPTIONS)] for row in range(PER_IMAGE * images)]
    batch = RetrievalBatch(pixels, tuple(captions), torch.arange(len(captions)) // PER_IMAGE)
    ratios = {}
    for name, scales in SCALES.items():
        noise = ItemNoise.of(0, "passes", items=range(images))
        run = Run.begin(model, batch, THREAT_MODEL, Language(), noise)
        search = GradientAscent(steps=steps, scales=scales)
        step = ImageStep(search=search, guide="original")
        count = steps * (1 + len(scales))
        work = {
            "attack": lambda run=run, step=step: run.take(step),
            "passes": lambda count=count: bare_passes(model, pixels, count),
        }
        with evaluation_mode(model):
            seconds = medians(work, rounds)
        ratios[name] = seconds["attack"] / seconds["passes"]
        print(f"{name} of {images} images: {seconds}", file=sys.stderr, flush=True)
    return ratios


def bare_passes(model: OpenClipDualEncoder, images: Tensor, count: int) -> None:
    """Forward and backward passes to pixels."""
    pixels = images.clone().requires_grad_()
    for _ in range(count):
        torch.autograd.grad(model.encode_image(pixels).sum(), pixels)


def medians(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, over rounds in which they take turns, after one to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds + 1):
        for name, each in work.items():
            start = time.perf_counter()
            each()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}
