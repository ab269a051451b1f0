"""FGSM on images alone."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.image_attack import ImageAttack
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent


@dataclass(frozen=True, kw_only=True)
class FGSM(ImageAttack):
    """Fast gradient (sign) method, Goodfellow et al. 2015, arXiv:1412.6572, section 4.

    One step from the image itself to the edge of its budget; for l2 along the gradient.

    Deviations:
        The paper raises a classifier's loss; here image and captions are driven apart.
    """

    def search(self) -> GradientAscent:
        """One step of the whole budget."""
        return GradientAscent(step_size=None, steps=1, random_start="none")
