"""How often a claim without any true difference is decided, by how far training seeds differ.

Recall of two defences is simulated on the same images with the same mean over all seeds there
could be. An image is won, lost or neither, and a seed of a defence lies off the mean by a normal
deviation. The ledger's own interval and verdict then judge the few seeds of a study. At a
confidence of 95 %, a fair rule decides 5 % of such claims.

Usage: python benchmarks/claim_coverage.py [--claims 400] [--seeds 3] [--images 2000]
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
from numpy.typing import NDArray

from mmrobust.claims.estimates import Estimate
from mmrobust.claims.verdicts import verdict
from mmrobust.intervals import Resampling, difference_interval

WON_OR_LOST = 0.2
"""Share of images that one of two defences answers alone: about that of MAT and MAT+."""
SHARED = 0.3
"""Share of images whose outcome is the same in all seeds."""
SEED_SD = (0.0, 0.005, 0.01, 0.02, 0.04)
"""Standard deviation over seeds of the difference in recall."""
CONFIDENCES = (0.95, 1 - 0.05 / 26)
"""Of one claim, and of the first of the 26 of the large study under Holm's correction."""


def main(argv: list[str] | None = None) -> None:
    """Print the shares of claims that are decided, by the spread of seeds, as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claims", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=2000)
    options = parser.parse_args(argv)
    rng = np.random.default_rng(0)
    image_sd = np.sqrt(WON_OR_LOST / options.images)
    shares: dict[str, list[float]] = {}
    for seed_sd in SEED_SD:
        decided = np.zeros(len(CONFIDENCES))
        for _ in range(options.claims):
            gains = simulated(rng, seed_sd, options.seeds, options.images)
            decided += [is_decided(gains, confidence, rng) for confidence in CONFIDENCES]
        shares[str(seed_sd)] = (decided / options.claims).tolist()
        print(f"seed sd {seed_sd}: decided {shares[str(seed_sd)]}", file=sys.stderr, flush=True)
    told = {**vars(options), "image_sd": float(image_sd), "confidences": CONFIDENCES}
    print(json.dumps({**told, "decided_by_seed_sd": shares}))


def simulated(
    rng: np.random.Generator, seed_sd: float, n_seeds: int, n_images: int
) -> NDArray[np.float64]:
    """Queries won less queries lost, (n_seeds, n_images), each -1, 0 or 1."""
    off = rng.normal(scale=seed_sd, size=(n_seeds, 1))
    draws = rng.random((n_seeds, n_images))
    shared = rng.random(n_images) < SHARED
    draws[:, shared] = draws[:1, shared]
    won = draws < (WON_OR_LOST + off) / 2
    lost = draws > 1 - (WON_OR_LOST - off) / 2
    return won.astype(float) - lost


def is_decided(gains: NDArray[np.float64], confidence: float, rng: np.random.Generator) -> bool:
    """Whether the ledger takes a side."""
    n_resamples = max(2000, round(40 / (1 - confidence)))
    resampling = Resampling(n_resamples=n_resamples, confidence=confidence, generator=rng)
    counts = np.ones(gains.shape[1])
    interval = difference_interval(list(gains), [0 * of for of in gains], counts, resampling)
    per_seed = tuple(gains.mean(axis=1).tolist())
    estimate = Estimate(
        value=float(gains.mean()),
        interval=interval,
        per_seed=per_seed,
        n=len(counts),
        images=len(counts),
    )
    return verdict(estimate, 0.0) != "inconclusive"


if __name__ == "__main__":
    sys.exit(main())
