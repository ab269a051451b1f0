"""Word substitution on captions alone."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.base import Attack, Step, TextStep
from mmrobust.attacks.text_search import GreedyWordSubstitution


@dataclass(frozen=True, kw_only=True)
class WordSubstitution(Attack):
    """Replace words by their lexicon substitutes so that a caption leaves its own image."""

    def recipe(self) -> tuple[Step, ...]:
        """One text step, guided by the original images."""
        return (TextStep(search=GreedyWordSubstitution(), guide="original"),)
