"""The verb `measure-augmentation`: alignment, diversity and distribution gap of an augmented set.

One row a measure and number n of each item's augmentations, whose first n are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict

from mmrobust.artifacts import write_json
from mmrobust.augment.alignment import alignment, true_share
from mmrobust.augment.distribution_gap import (
    Pool,
    distribution_gap,
    gap_floor,
    median_length_difference,
)
from mmrobust.augment.diversity import distinct_n, embedding_spread, pixel_difference, self_bleu
from mmrobust.augment.over_items import CONFIDENCE, N_RESAMPLES, Estimate, OverItems
from mmrobust.augment.sample import CHUNK_PICTURES, Sample, embed_sample
from mmrobust.config import build
from mmrobust.data.augmented import load_augmented
from mmrobust.data.prepared import load_split
from mmrobust.models.dual_encoder import load_model
from mmrobust.quantities import NonNegativeInt, PositiveInt
from mmrobust.randomness import numpy_generator

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MeasurementConfig:
    """How much is measured.

    Fields:
        max_items: training items that are measured, drawn alike for every augmented set.
        seed: of that draw, of the halves and draws of the distribution gap and of the bootstrap.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    max_items: PositiveInt = 2000
    seed: NonNegativeInt = 0


def measure_augmentation(
    cfg: Mapping[str, Any], *, data: Path, augmented: Path, judge: Path, out: Path
) -> None:
    """Measure an augmented set and write its rows as JSON.

    A row has `augmentation`, `n`, `measure`, `modality`, `value`, `low`, `high` and `items`; what
    is undefined is null. Of the measures, whose formulas stand in their modules, an item's
    original is its own picture or first caption:

    - `alignment`; `alignment_original`, of the original pairs; `alignment_difference` and
      `alignment_ratio` of the first to the second, paired by item; `true_share`, null where
      nobody decides truth.
    - `embedding_spread` and, of captions, `self_bleu_diversity` (1 - self-BLEU) or, of pictures,
      `pixel_difference`: among an item's n augmentations, null for n = 1; their namesakes ending
      in `_with_original` count its original among them. `distinct_1` and `distinct_2`.
    - `frechet_distance` and `mmd2`, each with its `_floor`; `median_length_difference` of
      captions. These have no interval: the floor tells what is large.

    Args:
        cfg: `name` of the augmentation, `threads`, `device`, and optionally the fields of
            `MeasurementConfig`.
        data: the prepared dataset; only its training split is opened.
        augmented: the augmented set.
        judge: checkpoint of the dual encoder that embeds; none of those under test.
        out: file that is written.

    Raises:
        UserError: bad input, or an augmented set of another dataset.
    """
    torch.set_num_threads(cfg["threads"])
    fields = {key: cfg[key] for key in ("max_items", "seed") if key in cfg}
    config = build(MeasurementConfig, fields, where="measure-augmentation")
    split, made = load_split(data, "train"), load_augmented(augmented, data=data)
    model = load_model(judge).to(cfg["device"])
    n_items = len(split.images)
    order = numpy_generator(config.seed, "measured items", n_items).permutation(n_items)
    sample = embed_sample(model, split, made, np.sort(order[: config.max_items]))
    floors = gap_floor(sample.pool, seed=config.seed)
    rows = [
        {
            "augmentation": cfg["name"],
            "n": n,
            "measure": measure,
            "modality": sample.modality,
            **asdict(estimate),
        }
        for n in counted_numbers(len(sample.made))
        for measure, estimate in measures(sample, n, floors, seed=config.seed).items()
    ]
    write_json(out, {"confidence": CONFIDENCE, "n_resamples": N_RESAMPLES, "rows": rows})


def counted_numbers(n: int) -> list[int]:
    """1, 2, 4, ... and n."""
    return [*(2**power for power in range(n.bit_length()) if 2**power < n), n]


def measures(
    sample: Sample, n: int, floors: Mapping[str, float | None], *, seed: int
) -> dict[str, Estimate]:
    """All measures of the first `n` augmentations of each item, by name; `floors` of the gaps."""
    over = OverItems(len(sample.original), seed)
    made, original = sample.made[:n], sample.original[None]
    aligned = alignment(made, sample.counterpart)
    before = alignment(original, sample.counterpart)
    by_item = made.swapaxes(0, 1).reshape(-1, made.shape[2])
    gaps = distribution_gap(
        Pool(by_item, np.repeat(np.arange(over.n_items), n)), sample.pool, seed=seed
    )
    of_modality = _of_captions if sample.modality == "caption" else _of_pictures
    return {
        "alignment": over.mean(aligned),
        "alignment_original": over.mean(before),
        "alignment_difference": over.mean(aligned - before),
        "alignment_ratio": over.ratio(aligned, before),
        "true_share": over.share(true_share(sample.true[:n])),
        "embedding_spread": over.mean(embedding_spread(made)),
        "embedding_spread_with_original": over.mean(
            embedding_spread(np.concatenate([made, original]))
        ),
        **of_modality(sample, n, over),
        **{name: over.bare(value) for name, value in gaps.items()},
        **{f"{name}_floor": over.bare(value) for name, value in floors.items()},
    }


def _of_captions(sample: Sample, n: int, over: OverItems) -> dict[str, Estimate]:
    made = sample.captions[1 : 1 + n].T.tolist()
    # Behind those made, so that it is a reference of theirs and not scored.
    with_original = [
        [*own, first] for own, first in zip(made, sample.captions[0].tolist(), strict=True)
    ]
    among, beside = self_bleu(made), self_bleu(with_original, scored=n)
    spoken = sample.captions[1 : 1 + n].ravel().tolist()
    longer = median_length_difference(spoken, sample.pool_captions)
    return {
        "self_bleu_diversity": over.mean(None if among is None else 1 - among),
        "self_bleu_diversity_with_original": over.mean(None if beside is None else 1 - beside),
        "distinct_1": over.mean(distinct_n(made, 1)),
        "distinct_2": over.mean(distinct_n(made, 2)),
        "median_length_difference": over.bare(longer),
    }


def _of_pictures(sample: Sample, n: int, over: OverItems) -> dict[str, Estimate]:
    step = max(1, CHUNK_PICTURES // (1 + n))

    def difference(first: int) -> Array | None:
        chunks = (slice(at, at + step) for at in range(0, over.n_items, step))
        found = [pixel_difference(sample.pictures(chunk)[first : 1 + n]) for chunk in chunks]
        known = [values for values in found if values is not None]
        return np.concatenate(known) if known else None

    return {
        "pixel_difference": over.mean(difference(1)),
        "pixel_difference_with_original": over.mean(difference(0)),
    }
