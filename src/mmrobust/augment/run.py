"""The verb `augment-data`: further captions or pictures of the training items, with provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from mmrobust.artifacts import building, move_built
from mmrobust.augment.base import Made
from mmrobust.augment.chunks import Job, Pass, first_captions, make_chunks, passes_over
from mmrobust.data.augmented import (
    FILES,
    UNKNOWN,
    Augmented,
    load_images,
    open_images,
    train_digests,
    write_augmented,
)
from mmrobust.data.prepared import (
    Split,
    load_manifest,
    load_split,
    one_image_positives,
)
from mmrobust.data.truth import positives_of, truth_of
from mmrobust.progress import progress_bar
from mmrobust.runfacts import RunFacts


def augment_data(cfg: Mapping[str, Any], *, data: Path, out: Path, work: Path) -> None:
    """Make one augmented set of a prepared dataset's training split.

    Args:
        cfg: `augmentation` (an entry: `method`, `n`, optional `seed` and `workers`, and the fields
            of the augmenter), `dataset`, `data_seed`, `device`, `threads` and `code`.
        data: the prepared dataset; only its training split and lexicon are opened.
        out: folder of the augmented set, see `mmrobust.data.augmented`, with `run.json`.
        work: folder of finished chunks.
    """
    facts = RunFacts("augment-data")
    entry = cfg["augmentation"]
    job = Job(
        entry=entry,
        data=data,
        dataset=cfg["dataset"],
        data_seed=cfg["data_seed"],
        device=cfg["device"],
        threads=cfg["threads"],
        code=cfg["code"],
        work=work,
    )
    split = load_split(data, "train")
    passes = passes_over(len(split.images), entry["n"])
    chunks = {job.chunk(one): one for one in passes}  # equal draws share a chunk
    missing = [one for file, one in chunks.items() if not file.exists()]
    total = sum(one.size for one in chunks.values())
    there = total - sum(one.size for one in missing)
    with progress_bar(total=total, initial=there, unit=job.augmenter.writes) as bar:
        for one in make_chunks(job, missing, workers=entry.get("workers", 1)):
            bar.update(one.size)
    with building(out) as folder:
        write_augmented(folder, gather(job, split, folder))
        facts.write(folder / "run.json")
        move_built(folder, out, ("run.json", *FILES))


def gather(job: Job, split: Split, folder: Path) -> Augmented:
    """All chunks as one set, with what is known of each row; images go to a file in `folder`."""
    augmenter, n = job.augmenter, int(job.entry["n"])
    passes = passes_over(len(split.images), n)
    item = np.tile(np.arange(len(split.images)), n)
    first = first_captions(split, 0, len(split.images))[item]
    if augmenter.writes == "caption":
        with open_images(folder, (0, *split.images.shape[1:])):
            made = [job.load(one) for one in passes]
        columns, positives = _of_captions(job, split, made, item, first)
    else:
        made, columns = _of_pictures(job, split, passes, folder)
        positives = sp.csr_array((0, len(split.images)), dtype=np.bool_)
    told = [one.sources for one in made if one.sources is not None]
    source = np.concatenate(told) if told else first
    manifest = load_manifest(job.data)
    reads_captions = augmenter.reads == "caption" or augmenter.prompted
    return Augmented(
        items=pd.DataFrame(
            {
                "item": item,
                "number": np.repeat(np.arange(n), len(split.images)),
                "source_caption": source if reads_captions else -1,
                **columns,
            }
        ),
        images=load_images(folder),
        positives=positives,
        manifest={
            "augmentation": {key: value for key, value in job.entry.items() if key != "workers"},
            "reads": augmenter.reads,
            "writes": augmenter.writes,
            "code": job.code,
            "dataset_sha256": train_digests(job.data),
            "licence": manifest["licence"],
            "redistributable": manifest["redistributable"],
        },
    )


def _of_captions(
    job: Job,
    split: Split,
    made: Sequence[Made],
    item: NDArray[np.int64],
    first: NDArray[np.int64],
) -> tuple[dict[str, Any], sp.csr_array]:
    """Columns of made captions, and of which training images they are true.

    A language model may say nothing; the item's first caption stands in its place.
    """
    texts = [text for one in made for text in one.values]
    before = [split.captions[row] for row in first.tolist()]
    captions = [text or old for text, old in zip(texts, before, strict=True)]
    changed = [text != old for text, old in zip(captions, before, strict=True)]
    truth = truth_of(job.dataset, "train", data_seed=job.data_seed)
    true: Any = UNKNOWN if truth is None else truth(captions, item.tolist())
    positives = positives_of(job.dataset, "train", captions, data_seed=job.data_seed)
    if positives is None:
        positives = one_image_positives(item, len(split.images))
    return {"caption": captions, "changed": changed, "true": true}, positives


def _of_pictures(
    job: Job, split: Split, passes: Sequence[Pass], folder: Path
) -> tuple[list[Made], dict[str, Any]]:
    """Write pictures to `folder`, one chunk in memory at a time; what is left, and columns."""
    rest, changed, true, shows = [], [], [], []
    shape = (sum(one.size for one in passes), *split.images.shape[1:])
    with open_images(folder, shape) as stream:
        for one in passes:
            made = job.load(one)
            pictures = np.asarray(made.values)
            stream.write(np.ascontiguousarray(pictures).data)  # `tofile` hides that a disk is full
            differ = pictures != split.images[one.start : one.stop]
            changed.append(differ.any(axis=(1, 2, 3)))
            true.append(np.full(one.size, UNKNOWN) if made.true is None else made.true)
            rest.append(replace(made, values=()))
            shows += [] if made.shows is None else [one.start + made.shows]
    known = {"changed": np.concatenate(changed), "true": np.concatenate(true)}
    if shows:
        known["shows_item"] = np.concatenate(shows)
    return rest, {"caption": None, **known}
