"""A few attacked items to look at: pictures, perturbation, captions and ranks, as data.

One row an item. Pixels are PNG bytes, rounded for the eye; what was evaluated was not rounded.
"""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from mmrobust.evaluation.crafting import Crafted
from mmrobust.evaluation.retrieval import select_outcomes
from mmrobust.evaluation.subject import Subject
from mmrobust.example_records import SCHEMA


def attacked_examples(
    target: Subject,
    crafted: Crafted,
    outcomes: pd.DataFrame,
    clean_outcomes: pd.DataFrame,
) -> pd.DataFrame:
    """One row of `SCHEMA` for each item whose pixels were kept."""
    before, after = _Ranks(clean_outcomes), _Ranks(outcomes)
    rows = []
    for item in sorted(crafted.kept):
        clean = target.pixels([item])[0].cpu().numpy()
        delta = crafted.kept[item] - clean
        largest = float(np.abs(delta).max())
        magnification = 0.5 / largest if largest > 0 else 1.0
        captions = list(target.captions_of(item))
        rows.append(
            {
                "image": item,
                "clean": _png(clean),
                "adversarial": _png(crafted.kept[item]),
                "perturbation": _png(0.5 + magnification * delta),
                "magnification": magnification,
                "captions": [target.split.captions[row] for row in captions],
                "adversarial_captions": [crafted.captions[row] for row in captions],
                "captions_true": [int(crafted.caption_true[row]) for row in captions],
                "i2t_rank": before.of("i2t", item),
                "adversarial_i2t_rank": after.of("i2t", item),
                "t2i_ranks": [before.of("t2i", row) for row in captions],
                "adversarial_t2i_ranks": [after.of("t2i", row) for row in captions],
            }
        )
    return pd.DataFrame(rows, columns=SCHEMA.names)


class _Ranks:
    """Ranks under own_pair, one-image labels and the main gallery, by direction and query."""

    def __init__(self, outcomes: pd.DataFrame) -> None:
        main = outcomes["gallery_images"].iloc[0]
        chosen = select_outcomes(
            outcomes, protocol="own_pair", labels="one_image", gallery_images=main
        )
        self._rank = chosen.set_index(["direction", "query"])["rank"].to_dict()

    def of(self, direction: str, query: int) -> int:
        return int(self._rank[direction, query])


def _png(pixels: NDArray[np.float32]) -> bytes:
    """PNG of pixels (3, H, W) in [0, 1]."""
    rounded = np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    stream = io.BytesIO()
    Image.fromarray(rounded).save(stream, "PNG")
    return stream.getvalue()
