"""Character edits on captions alone."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.base import Attack
from mmrobust.attacks.steps import Step, TextStep
from mmrobust.attacks.text_search.candidates import CharacterCandidates
from mmrobust.attacks.text_search.constraints import NewWords
from mmrobust.attacks.text_search.importance import UnknownToken
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.quantities import PositiveInt


@dataclass(frozen=True, kw_only=True)
class CharacterEdits(Attack):
    """Typos inside words, after LEAF (Abad Rocamora et al. 2025, arXiv:2506.03355).

    Fields:
        distance: Levenshtein distance of each edited word from its original (LEAF: 1).
        per_word: edits tried for each word.

    Deviations:
        LEAF picks among random positions of the whole caption, spaces among them, and then
        among characters; here the most important words are picked, by hiding them, edits stay
        inside words, and each word has its own draws. All words are tried by
        `word_substitution` with `text: {candidates: {kind: characters}}`.
    """

    distance: PositiveInt = 1
    per_word: PositiveInt = 20

    def recipe(self) -> tuple[Step, ...]:
        """One text step, guided by the original images."""
        candidates = CharacterCandidates(distance=self.distance, per_word=self.per_word)
        search = TextSearch(
            candidates=candidates, constraints=(NewWords(),), importance=UnknownToken()
        )
        return (TextStep(search=search, guide="original"),)
