"""Word substitution on captions alone."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.base import Attack
from mmrobust.attacks.steps import Step, TextStep
from mmrobust.attacks.text_search.search import TextSearch


@dataclass(frozen=True, kw_only=True)
class WordSubstitution(Attack):
    """Replace words so that a caption leaves its own image; by default by lexicon synonyms.

    Fields:
        text: candidates, constraints, importance and method; by default every (word, synonym)
            pair is tried in each round.
    """

    text: TextSearch = TextSearch()

    def recipe(self) -> tuple[Step, ...]:
        """One text step, guided by the original images."""
        return (TextStep(search=self.text, guide="original"),)
