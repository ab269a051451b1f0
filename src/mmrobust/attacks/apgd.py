"""APGD on images alone."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.image_attack import ImageAttack
from mmrobust.attacks.image_search.apgd import AdaptiveAscent
from mmrobust.attacks.objectives import ImageObjectiveName
from mmrobust.quantities import PositiveInt


@dataclass(frozen=True, kw_only=True)
class APGD(ImageAttack):
    """Auto-PGD, Croce and Hein 2020, arXiv:2003.01690, section 3: no step size to choose.

    Fields:
        steps: gradient steps of each restart.
        restarts: random starts; the best point of all is kept.
        objective: what is maximised.

    Deviations:
        The paper maximises cross-entropy or the difference-of-logits ratio of a classifier; a
        retrieval model's counterpart is the contrastive loss or the margin to its gallery.
    """

    steps: PositiveInt = 50
    restarts: PositiveInt = 1
    objective: ImageObjectiveName = "contrastive"

    def search(self) -> AdaptiveAscent:
        """Ascent that adapts its steps."""
        return AdaptiveAscent(steps=self.steps, restarts=self.restarts)
