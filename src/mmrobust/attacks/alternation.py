"""Text and image in turns until an item's loss stops rising, with restarts: see `Alternate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmrobust.attacks.image_search.balls import ball_of
from mmrobust.attacks.steps import Alternate, TextStep

if TYPE_CHECKING:
    from mmrobust.attacks.run import Run

RISE = 1e-4
"""An item's loss has stopped rising when a round adds less than this."""


def alternate(run: Run, step: Alternate) -> None:
    """Leave the run at the best of all restarts, item by item."""
    assert run.threat_model.image is not None
    best = run.loss(step.loss)
    for restart in range(step.restarts):
        attempt = run.part(range(len(run.images)))
        if restart > 0:
            ball, original = ball_of(run.threat_model.image), run.batch.images
            attempt.images = ball.confine(ball.random_start(original, run.noise), original)
        _climb(attempt, step)
        reached = attempt.loss(step.loss)
        run.adopt(attempt, (reached > best).tolist())
        best = torch.maximum(best, reached)


def _climb(run: Run, step: Alternate) -> None:
    """Rounds of text and image on the items whose loss still rises."""
    rising = list(range(len(run.images)))
    for _ in range(step.rounds):
        part = run.part(rising)
        before = now = part.loss(step.loss)
        for modality in (step.text, step.image):
            tried = part.part(range(len(rising)))
            if isinstance(modality, TextStep):
                tried.perturb_captions(modality)
            else:
                tried.perturb_images(modality, start=part.images)
            after = tried.loss(step.loss)
            part.adopt(tried, (after > now).tolist())
            now = torch.maximum(now, after)
        run.adopt(part, [True] * len(rising), rows=rising)
        rose = (now > before + RISE).tolist()
        rising = [row for row, better in zip(rising, rose, strict=True) if better]
        if not rising:
            break
