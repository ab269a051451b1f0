"""Chunks of an augmented set: each stored under a digest of all that it is made from.

A killed run goes on where it was, and neither more augmentations of an item nor a change in a
part of the data repeats a chunk that it doesn't touch. What is made depends neither on the number
of processes nor on the chunks that were there.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrobust.artifacts import digest, replacing, sha256_file
from mmrobust.augment import AUGMENTERS
from mmrobust.augment.base import Augmenter, Generate, Made, Source, Sources
from mmrobust.config import build
from mmrobust.data.prepared import LEXICON, Split, load_lexicon, load_manifest, load_split
from mmrobust.errors import UserError
from mmrobust.randomness import numpy_generator
from mmrobust.registry import resolve

CHUNK_ITEMS = 256
"""Items of a chunk: little is lost when a run is killed, and a model's batches stay full."""

ENTRY_KEYS = ("method", "n", "seed", "workers")
"""Keys of an augmentation's entry that are no fields of its augmenter."""

KNOWN = ("true", "sources", "shows")
"""What a chunk holds beside values, each where the augmenter tells it: fields of `Made`."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One augmentation, the `number`-th, of the items from `start` to before `stop`."""

    number: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of items."""
        return self.stop - self.start


def passes_over(n_items: int, n: int) -> list[Pass]:
    """All passes that make `n` augmentations of each item, by number and then by item."""
    return [
        Pass(number=number, start=start, stop=min(start + CHUNK_ITEMS, n_items))
        for number in range(n)
        for start in range(0, n_items, CHUNK_ITEMS)
    ]


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker process is told.

    Fields:
        entry: the augmentation, with its `method`.
        data: folder of the prepared dataset; its training split and lexicon are opened.
        dataset: section `dataset` of the study.
        data_seed: of the dataset.
        device: where models run.
        threads: compute threads of a process.
        code: fingerprint of the code.
        work: folder of the chunks.
    """

    entry: Mapping[str, Any]
    data: Path
    dataset: Mapping[str, Any]
    data_seed: int
    device: str
    threads: int
    code: str
    work: Path

    @cached_property
    def augmenter(self) -> Augmenter:
        """The augmenter of the entry."""
        return build_augmenter(self.entry)

    @cached_property
    def key(self) -> str:
        """Digest of what chunks are made from, beside their items' captions and pictures."""
        made_by = {key: value for key, value in self.entry.items() if key not in ("n", "workers")}
        model = self.augmenter.model_folder()
        files = [] if model is None else [path for path in model.rglob("*") if path.is_file()]
        weights = {
            str(path.relative_to(model)): sha256_file(path)
            for path in sorted(files)
            if model is not None
        }
        lexicon = load_manifest(self.data)["sha256"][LEXICON]
        return digest([made_by, self.dataset, self.data_seed, self.code, weights, lexicon])

    def chunk(self, one: Pass) -> Path:
        """File of a chunk, which may not exist yet."""
        number = self.augmenter.draw_number(one.number)
        name = digest([self.key, one.start, _content(self.data, one.start, one.stop), number])
        return self.work / f"{name}.npz"

    def load(self, one: Pass) -> Made:
        """A chunk that was made."""
        with np.load(self.chunk(one), allow_pickle=False) as stored:
            values = stored["values"]
            known = {name: stored[name] for name in KNOWN if name in stored}
        return Made(values.tolist() if values.dtype.kind == "U" else values, **known)


def build_augmenter(entry: Mapping[str, Any]) -> Augmenter:
    """The augmenter of an `augmentations` entry of a study."""
    fields = {key: value for key, value in entry.items() if key not in ENTRY_KEYS}
    name = entry["method"]
    cls = resolve(AUGMENTERS, name, kind="augmentation method", base=Augmenter)
    return build(cls, fields, where=f"augmentations.{name}")


def make_chunks(job: Job, passes: Sequence[Pass], *, workers: int) -> Iterator[Pass]:
    """Make and store chunks, in this process or in several; yields each when it is done."""
    if workers == 1 or len(passes) < 2:
        yield from map(partial(_make, job), passes)
        return
    context = multiprocessing.get_context("spawn")  # torch's threads don't survive a fork
    with ProcessPoolExecutor(min(workers, len(passes)), mp_context=context) as pool:
        yield from pool.map(partial(_make, job), passes)


def first_captions(split: Split, start: int, stop: int) -> Any:
    """Row (n,) of the first caption of each item."""
    return np.searchsorted(split.caption_image, np.arange(start, stop))


def _make(job: Job, one: Pass) -> Pass:
    augmenter, generate, split = _opened(job)
    items = np.arange(one.start, one.stop)
    number = augmenter.draw_number(one.number)
    sources = Sources(items, first_captions(split, one.start, one.stop), number)
    seed, method = job.entry.get("seed", 0), job.entry["method"]
    rng = numpy_generator(seed, "augmentation", method, one.start, number)
    made = generate(sources, rng)
    if augmenter.writes == "caption":
        # Words are parted by single spaces everywhere; language models part them otherwise.
        values = np.array([" ".join(text.split()) for text in made.values], dtype=np.str_)
        _check_captions(values, one.size, method)
    else:
        values = np.asarray(made.values)
        _check_pictures(values, (one.size, *split.images.shape[1:]), method)
    known = {name: getattr(made, name) for name in KNOWN if getattr(made, name) is not None}
    with replacing(job.chunk(one)) as temporary:
        np.savez_compressed(temporary, values=values, **known)
    return one


def _check_captions(values: Any, size: int, method: str) -> None:
    if len(values) != size:
        raise UserError(
            f"augmentation method {method!r}: {len(values)} captions of {size} items, wanted: one "
            "of each"
        )


def _check_pictures(values: Any, shape: tuple[int, ...], method: str) -> None:
    if values.shape != shape or values.dtype != np.uint8:
        raise UserError(
            f"augmentation method {method!r}: pictures are {values.dtype} {values.shape}, "
            f"wanted: uint8 {shape}"
        )


_OPENED: dict[tuple[str, Path], tuple[Augmenter, Generate, Split]] = {}
"""What this process has loaded: models are too large to load for every chunk."""


def _opened(job: Job) -> tuple[Augmenter, Generate, Split]:
    name = (job.key, job.data)
    if name not in _OPENED:
        import torch

        torch.set_num_threads(job.threads)
        source = Source(
            split=load_split(job.data, "train"),
            lexicon=load_lexicon(job.data),
            dataset=job.dataset,
            data_seed=job.data_seed,
            device=job.device,
        )
        augmenter = job.augmenter
        _OPENED.clear()
        _OPENED[name] = (augmenter, augmenter.open(source), source.split)
    return _OPENED[name]


@cache
def _content(data: Path, start: int, stop: int) -> str:
    """Digest of the captions and pictures of some items."""
    split = _training_split(data)
    first, last = np.searchsorted(split.caption_image, [start, stop])
    pictures = hashlib.sha256(split.images[start:stop].tobytes()).hexdigest()
    owners = (split.caption_image[first:last] - start).tolist()
    return digest([split.captions[first:last], owners, pictures])


@cache
def _training_split(data: Path) -> Split:
    return load_split(data, "train")
