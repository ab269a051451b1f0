"""Captions and pictures a second of the augmenters that need no model, through the whole verb.

Each is `augment-data` as the pipeline runs it, with one worker: reading the training split,
making, storing and gathering chunks, deciding what is true of which picture, writing the set.
Only imports are kept between two runs. The dataset is prepared beforehand.

Progress goes to stderr; the last line on stdout is one JSON object. Rates are medians of rounds.

Usage: python benchmarks/augmentation.py [--study config/scenes.yaml] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmrobust.augment.run import augment_data
from mmrobust.config import build
from mmrobust.data.scenes.dataset import Scenes
from mmrobust.study import Study, load_study

CAPTIONS = {"scenes_paraphrase": 8, "scenes_caption": 8, "eda": 8, "human_captions": 8}
PICTURES = {"scenes_render": 2, "scenes_draw": 2, "randaugment": 2}
"""How many an item gets."""


def measure(study: Study, *, items: int | None, rounds: int) -> dict[str, object]:
    """Captions and pictures a second by method, on a study of `scenes`.

    Args:
        study: whose dataset is augmented.
        items: training items; None for the study's.
        rounds: runs of each method, which take turns.
    """
    section = dict(study.dataset)
    if items is not None:
        section["splits"] = {**section["splits"], "train": items}
    values = {key: value for key, value in section.items() if key != "name"}
    dataset = build(Scenes, values, where="dataset")
    wanted = CAPTIONS | PICTURES
    wanted["human_captions"] = min(wanted["human_captions"], dataset.captions_per_scene - 1)
    seconds: dict[str, list[float]] = {method: [] for method in wanted}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        dataset.prepare(data, seed=study.data_seed)
        for number in range(rounds):
            for method, n in wanted.items():
                run = Path(folder) / f"{method}-{number}"
                run.mkdir()
                seconds[method].append(seconds_of(study, section, method, n, data=data, run=run))
                print(f"round {number}: {method} {seconds[method][-1]:.2f} s", file=sys.stderr)
    n_items = dataset.splits["train"] * dataset.renderings_per_scene
    rates = {
        method: round(n_items * n / statistics.median(seconds[method]), 1)
        for method, n in wanted.items()
    }
    return {
        "captions_per_s": {method: rates[method] for method in CAPTIONS},
        "pictures_per_s": {method: rates[method] for method in PICTURES},
        "items": n_items,
        "of_an_item": wanted,
        "rounds": rounds,
    }


def seconds_of(
    study: Study, dataset: dict[str, Any], method: str, n: int, *, data: Path, run: Path
) -> float:
    """Seconds that one run of the verb takes.

    Args:
        study: whose seed, device and threads are taken.
        dataset: its section.
        method: of the augmentation.
        n: how many an item gets.
        data: the prepared dataset.
        run: an empty folder.
    """
    cfg = {
        "augmentation": {"method": method, "n": n},
        "dataset": dataset,
        "data_seed": study.data_seed,
        "device": "cpu",
        "threads": study.threads,
        "code": run.name,
    }
    alias = run / "data"  # what a process knows of a folder is known by its path
    alias.symlink_to(data, target_is_directory=True)
    start = time.perf_counter()
    augment_data(cfg, data=alias, out=run / "out", work=run / "work")
    return time.perf_counter() - start


def main(given: Sequence[str] | None = None) -> None:
    """Print progress to stderr and one line of JSON to stdout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, default=Path("config/scenes.yaml"))
    parser.add_argument("--items", type=int, help="training items; the study's by default")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(given)
    study = load_study(arguments.study)
    print(json.dumps(measure(study, items=arguments.items, rounds=arguments.rounds)))


if __name__ == "__main__":
    main()
