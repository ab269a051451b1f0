"""BERT-Attack on captions alone, with candidates for the word that they replace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmrobust.attacks.base import Attack
from mmrobust.attacks.objectives import TextObjective, away_from_image, away_from_text
from mmrobust.attacks.steps import Step, TextStep
from mmrobust.attacks.text_search.candidates import MaskedLMCandidates
from mmrobust.attacks.text_search.constraints import NoSubwords, StopWords
from mmrobust.attacks.text_search.importance import UnknownToken
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.quantities import PositiveInt

TEXT_OBJECTIVES: dict[str, TextObjective] = {
    "away_from_text": away_from_text,
    "away_from_image": away_from_image,
}


def bert_search(*, k: int = 10, threshold: float = 0.3, aligned: bool) -> TextSearch:
    """BERT-Attack as a composition; `aligned` False is the released ports' offset."""
    return TextSearch(
        candidates=MaskedLMCandidates(k=k, threshold=threshold, aligned=aligned),
        constraints=(StopWords(), NoSubwords()),
        importance=UnknownToken(),
        method="greedy",
    )


@dataclass(frozen=True, kw_only=True)
class BertAttack(Attack):
    """BERT-Attack, Li et al. 2020, arXiv:2004.09984, as Co-Attack ported it to dual encoders.

    A word is replaced by what a masked language model expects in its place, the most important
    words first, until the budget is spent.

    Fields:
        k: predictions of the masked language model for a word (released code: 10).
        threshold: logit below which predictions are cut (released code: 0.3, on raw scores).
        objective: away_from_text (as Co-Attack's text mode: the caption leaves its own clean
            embedding) or away_from_image (the caption leaves its image, as in SGA).

    Deviations:
        The ports take a word's candidates from the position before it (`bert_attack_released`);
        here they are those of the word itself. The list of stop words is the dataset's own. A
        word is replaced by one word, never by several.
    """

    aligned: ClassVar[bool] = True

    k: PositiveInt = 10
    threshold: float = 0.3
    objective: Literal["away_from_text", "away_from_image"] = "away_from_text"

    def recipe(self) -> tuple[Step, ...]:
        """One text step."""
        search = bert_search(k=self.k, threshold=self.threshold, aligned=self.aligned)
        objective = TEXT_OBJECTIVES[self.objective]
        return (TextStep(search=search, guide="original", objective=objective),)
