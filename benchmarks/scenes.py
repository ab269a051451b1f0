"""Speed of the embedded world: draw, render and describe scenes, then find all positives.

Progress goes to stderr; the last line on stdout is one JSON object.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import numpy as np

from mmrobust.data.scenes.captions import draw_captions
from mmrobust.data.scenes.render import render
from mmrobust.data.scenes.scene import draw_distinct_scenes
from mmrobust.data.scenes.truth import positives_matrix

N_SCENES = 2000
PER_SCENE = 5
ROUNDS = 7


def main() -> None:
    """Time rounds of 2,000 scenes of 40 pixels with five captions each and report the median."""
    spans = []
    nothing = np.empty(0, dtype=np.int64)
    for number in range(ROUNDS + 1):  # the first round draws the sprites and is not counted
        rng = np.random.default_rng(number)
        start = time.perf_counter()
        scenes = draw_distinct_scenes(N_SCENES, rng, taken=nothing)
        drawn = time.perf_counter()
        render(scenes, rng, image_size=40, pixel_noise=0.02)
        rendered = time.perf_counter()
        captions = draw_captions(scenes, rng, per_scene=PER_SCENE, detail=0.8, rare_word_rate=0.25)
        spoken = time.perf_counter()
        positives = positives_matrix(captions, scenes)
        found = time.perf_counter()
        print(
            f"round {number}: scenes {drawn - start:.3f} s, pictures {rendered - drawn:.3f} s, "
            f"captions {spoken - rendered:.3f} s; positives of {positives.shape[0]} x "
            f"{positives.shape[1]} {found - spoken:.3f} s",
            file=sys.stderr,
        )
        spans.append(spoken - start)
    print(json.dumps({"scenes_per_s": round(N_SCENES / statistics.median(spans[1:]), 1)}))


if __name__ == "__main__":
    main()
