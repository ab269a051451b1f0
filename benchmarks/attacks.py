"""The attacks against a plain implementation of the released procedure, and against bare passes.

The plain one pads text to 77 tokens, takes one caption at a time with all its importance rows in
one batch and all candidates of a word in one, runs both text passes of SGA from nothing, and takes
one image at a time. Both run on the same models with random weights (CLIP ViT-B/32, a BERT of base
size) and must choose the same words. They take turns, so that a busy machine slows both; ours is
the median of its runs. Each saving is measured by switching it on after those before it.

Usage: python benchmarks/attacks.py [--quick] [--images 8] [--threads 2]
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from attack_inputs import PER_IMAGE, Inputs, make_inputs, plain_attacks, short_captions
from attack_passes import image_attack_over_passes
from attack_rows import NotedRows, shared_prefixes_at_most
from torch import Tensor

from mmrobust.attacks.base import Adversarial
from mmrobust.attacks.bert_attack import bert_search
from mmrobust.attacks.bert_attack_released import BertAttackReleased
from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.run import RetrievalBatch
from mmrobust.attacks.sga import SGA
from mmrobust.attacks.text_search.memory import TextMemory
from mmrobust.models.encoding import embed_captions, embed_images
from mmrobust.threat import ImageBudget, TextBudget, ThreatModel

T = TypeVar("T")

oracle = plain_attacks()

EPS = 2 / 255
THREAT_MODEL = ThreatModel(image=ImageBudget(eps=EPS), text=TextBudget(words=1))
CONTEXT = 77
MEMORY_CAPTIONS, QUICK_MEMORY_CAPTIONS = (200, 2_000), (20, 40)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Wall time of one call and what it returned."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Stopwatch:
    """Seconds of each part, summed or as a list of runs."""

    runs: dict[str, list[float]] = field(default_factory=dict)

    def time(self, name: str, work: Callable[[], T]) -> T:
        """Run and note; several runs of a name are kept apart."""
        seconds, found = timed(work)
        self.runs.setdefault(name, []).append(seconds)
        say(f"{name}: {seconds:.2f} s")
        return found

    def total(self, name: str) -> float:
        """Of parts that together are one run."""
        return sum(self.runs[name])

    def median(self, name: str) -> float:
        """Of repeated runs."""
        return statistics.median(self.runs[name])


@dataclass(frozen=True)
class Plain:
    """The plain implementation, item by item, padded as released or trimmed."""

    inputs: Inputs
    attack: SGA

    def text(self, *, pad_to: int | None) -> oracle.TextAttack:
        """The text attack."""
        inputs = self.inputs
        return oracle.TextAttack(
            model=inputs.model,
            bert=inputs.bert,
            pieces=inputs.pieces,
            stop_words=frozenset(inputs.language.stop_words),
            pad_to=pad_to,
        )

    def image(self) -> oracle.ImageAttack:
        """The image attack."""
        attack = self.attack
        return oracle.ImageAttack(
            model=self.inputs.model, eps=EPS, steps=attack.steps, scales=attack.scales
        )

    def items(self) -> list[oracle.Item]:
        """The batch, taken apart."""
        batch = self.inputs.batch
        noise, owner = noise_of(batch), batch.caption_image.tolist()
        return [
            oracle.Item(
                batch.images[row : row + 1],
                [text for text, own in zip(batch.captions, owner, strict=True) if own == row],
                noise.take([row]),
            )
            for row in range(len(batch.images))
        ]


def noise_of(batch: RetrievalBatch) -> ItemNoise:
    """Draws of a batch's items."""
    return ItemNoise.of(0, "benchmark", items=range(len(batch.images)))


def both_passes(
    inputs: Inputs,
    guides: Sequence[Tensor],
    *,
    max_rows: int | None = None,
    memories: int = 1,
    at_once: int | None = None,
) -> list[list[str]]:
    """Our captions after each of SGA's text passes, guided by image embeddings (B, D).

    Args:
        inputs: models and items.
        guides: of the two passes.
        max_rows: embeddings that a memory keeps; None for the default.
        memories: 1 for one memory through both passes, 2 for a new one in each.
        at_once: captions attacked together; None for all.
    """
    model, batch = inputs.model, inputs.batch
    captions, owner = batch.captions, batch.caption_image
    size = at_once or len(captions)
    found: list[list[str]] = [[] for _ in guides]
    for start in range(0, len(captions), size):
        rows = slice(start, start + size)
        keep = {} if max_rows is None else {"max_rows": max_rows}
        memory = TextMemory(model, **keep)
        for number, guide in enumerate(guides):
            if memories > 1 and number:
                memory = TextMemory(model, **keep)
            own = guide[owner[rows]]
            texts, _ = bert_search(aligned=False)(
                memory,
                captions[rows],
                lambda changed, caption, own=own: -(changed * own[caption]).sum(dim=1),
                budget=TextBudget(words=1),
                images=owner[rows].tolist(),
                language=inputs.language,
            )
            found[number] += texts
    return found


VARIANTS: dict[str, Callable[[Inputs, Sequence[Tensor]], list[list[str]]]] = {
    "one_caption_at_a_time": lambda inputs, guides: both_passes(
        inputs, guides, max_rows=0, memories=2, at_once=1
    ),
    "batched": lambda inputs, guides: both_passes(inputs, guides, max_rows=0, memories=2),
    "order_and_candidates_kept": lambda inputs, guides: both_passes(inputs, guides, max_rows=0),
    "rows_kept": lambda inputs, guides: both_passes(inputs, guides),
}
"""Our text attack with one saving after the other; the last is what runs."""


def against_the_released_procedure(inputs: Inputs, attack: SGA, repeats: int) -> dict[str, object]:
    """Speed of the text attack and of the whole SGA; AssertionError unless words are the same."""
    watch, plain = Stopwatch(), Plain(inputs, attack)
    padded, trimmed, image = plain.text(pad_to=CONTEXT), plain.text(pad_to=None), plain.image()
    items = plain.items()
    clean = embed_images(inputs.model, inputs.batch.images)

    def run(attack: SGA = attack) -> Adversarial:
        return attack(
            inputs.model,
            inputs.batch,
            threat_model=THREAT_MODEL,
            language=inputs.language,
            noise=noise_of(inputs.batch),
        )

    run(dataclasses.replace(attack, steps=1))  # warms caches up
    first: list[str] = []
    adversarial: list[Tensor] = []
    for number, item in enumerate(items):
        if number % max(1, len(items) // repeats) == 0:
            ours = watch.time("sga", run)
        guide = clean[number : number + 1]
        own = watch.time("plain_text", lambda: oracle.sga_captions(item, padded, guide))  # noqa: B023
        adversarial.append(
            watch.time("plain_image", lambda: oracle.sga_image(item, own, padded, image))  # noqa: B023
        )
        first += own
    moved = torch.cat([oracle.embed_image(inputs.model, each) for each in adversarial])
    second: list[str] = []
    guides = [clean, moved]
    chosen: dict[str, list[list[str]]] = {}
    for number, item in enumerate(items):
        if number % max(1, len(items) // repeats) == 0:
            for name, variant in VARIANTS.items():
                chosen[name] = watch.time(name, lambda: variant(inputs, guides))  # noqa: B023
        row = slice(number, number + 1)
        second += watch.time("plain_text", lambda: oracle.sga_captions(item, padded, moved[row]))  # noqa: B023
        for guide in guides:
            watch.time("trimmed", lambda: oracle.sga_captions(item, trimmed, guide[row]))  # noqa: B023
    for name, words in chosen.items():
        assert words == [first, second], f"the text attack chose other words: {name}"
    assert list(ours.captions) == second, "SGA chose other words"
    objective = [
        total_objective(inputs, images, captions)
        for images, captions in ((ours.images, ours.captions), (torch.cat(adversarial), second))
    ]
    assert abs(objective[0] - objective[1]) < 1e-4, objective
    return {
        **speedups(watch),
        "objective": objective,
        "largest_pixel_difference": float((ours.images - torch.cat(adversarial)).abs().max()),
        **rows_of(inputs, guides, padded.rows[0]),
    }


def total_objective(inputs: Inputs, images: Tensor, captions: Sequence[str]) -> float:
    """What SGA maximises, summed over the batch."""
    image = embed_images(inputs.model, images)[inputs.batch.caption_image]
    return -float((image * embed_captions(inputs.model, captions)).sum())


def speedups(watch: Stopwatch) -> dict[str, object]:
    """Ratios of times, and what each saving gives on top of those before it."""
    ladder = {
        "padded": watch.total("plain_text"),
        "trimmed": watch.total("trimmed"),
        **{name: watch.median(name) for name in VARIANTS},
    }
    ours = ladder["rows_kept"]
    whole = watch.total("plain_text") + watch.total("plain_image")
    return {
        "text_attack_speedup": ladder["padded"] / ours,
        "sga_speedup": whole / watch.median("sga"),
        "text_attack_speedup_over_trimmed": ladder["trimmed"] / ours,
        "text_attack_gives": {
            after: ladder[before] / ladder[after] for before, after in itertools.pairwise(ladder)
        },
        "text_attack_s": ladder,
        "sga_s": {
            "plain": whole,
            "plain_image": watch.total("plain_image"),
            "ours": watch.median("sga"),
        },
    }


def rows_of(inputs: Inputs, guides: Sequence[Tensor], plain_rows: int) -> dict[str, object]:
    """Rows of text encoded by each, and the most that shared prefixes could save."""
    counts = {"plain": plain_rows}
    for name in ("batched", "rows_kept"):
        noted = NotedRows(inputs.model)
        VARIANTS[name](dataclasses.replace(inputs, model=noted), guides)  # type: ignore[arg-type]
        counts[name] = len(noted.rows)
    return {
        "rows": counts,
        "shared_prefixes_at_most": shared_prefixes_at_most(
            inputs.model, noted.rows, inputs.batch.captions
        ),
    }


def peak_memory(*, quick: bool) -> dict[str, object]:
    """Peaks of processes that attack few captions and many, each of its own."""
    peaks, seconds = {}, {}
    for captions in QUICK_MEMORY_CAPTIONS if quick else MEMORY_CAPTIONS:
        command = [sys.executable, __file__, "--peak-of", str(captions), *["--quick"] * quick]
        taken, ran = timed(lambda: subprocess.run(command, check=True, stdout=subprocess.PIPE))  # noqa: B023
        peaks[str(captions)], seconds[str(captions)] = json.loads(ran.stdout), taken
        say(f"{captions} captions: peak {peaks[str(captions)]:.0f} MB, {taken:.0f} s")
    few, many = peaks.values()
    return {"peak_mb": peaks, "peak_ratio": many / few, "peak_s": seconds}


def peak_of(captions: int, *, quick: bool) -> float:
    """Attack so many captions; the peak of this process in MB."""
    inputs = make_inputs(images=1, quick=quick)
    texts = tuple(short_captions(captions))
    owner = torch.zeros(captions, dtype=torch.int64)
    found = BertAttackReleased(k=3)(
        inputs.model,
        dataclasses.replace(inputs.batch, captions=texts, caption_image=owner),
        threat_model=ThreatModel(text=TextBudget(words=1)),
        language=inputs.language,
        noise=noise_of(inputs.batch),
    )
    assert int(found.words_changed.sum()) > captions // 2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(given: Sequence[str] | None = None) -> None:
    """Print progress to stderr and one line of JSON to stdout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny models, few steps")
    parser.add_argument("--images", type=int, default=8, help="items, up to 8")
    parser.add_argument("--repeats", type=int, default=2, help="runs of ours between plain ones")
    parser.add_argument("--rounds", type=int, default=20, help="of image steps and bare passes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--without", nargs="*", default=[], choices=["memory", "passes", "speed"])
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    torch.set_num_threads(arguments.threads)
    quick = arguments.quick
    if arguments.peak_of is not None:
        print(json.dumps(peak_of(arguments.peak_of, quick=quick)))
        return
    images, rounds = (2, 2) if quick else (arguments.images, arguments.rounds)
    facts: dict[str, object] = {
        "threads": arguments.threads,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "images": images,
        "captions": images * PER_IMAGE,
        "quick": quick,
    }
    # First: a process that is started from a large one has its starter's peak.
    if "memory" not in arguments.without:
        facts |= peak_memory(quick=quick)
    inputs = make_inputs(images=images, quick=quick)
    if "passes" not in arguments.without:
        facts |= image_attack_over_passes(inputs, rounds=rounds, quick=quick)
    if "speed" not in arguments.without:
        attack = SGA(steps=1, scales=(0.5,)) if quick else SGA()
        facts |= against_the_released_procedure(inputs, attack, arguments.repeats)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
