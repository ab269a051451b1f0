"""Square attack on images alone: queries, no gradients."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.image_attack import ImageAttack
from mmrobust.attacks.image_search.square import RandomSquares
from mmrobust.attacks.objectives import ImageObjectiveName
from mmrobust.quantities import Fraction, PositiveInt


@dataclass(frozen=True, kw_only=True)
class Square(ImageAttack):
    """Square attack, Andriushchenko et al. 2020, arXiv:1912.00049.

    It reads scores alone: where it beats an attack by gradients, gradients are masked.

    Fields:
        queries: times that an image is shown to the model.
        p_init: share of the pixels that the first squares cover (paper: 0.05 for l-inf on
            ImageNet, 0.1 for l2; released AutoAttack: 0.8).
        objective: what is maximised.

    Deviations:
        The paper lowers a classifier's margin in up to 10,000 queries; here the margin is that of
        the item in its gallery. The search deviates as `RandomSquares` says.
    """

    queries: PositiveInt = 1000
    p_init: Fraction = 0.8
    objective: ImageObjectiveName = "soft_margin"

    def search(self) -> RandomSquares:
        """Random squares, kept if they help."""
        return RandomSquares(queries=self.queries, p_init=self.p_init)
