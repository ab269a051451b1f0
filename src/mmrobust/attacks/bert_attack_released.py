"""BERT-Attack as the released code of Co-Attack and SGA runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmrobust.attacks.base import Attack
from mmrobust.attacks.bert_attack import TEXT_OBJECTIVES, bert_search
from mmrobust.attacks.steps import Step, TextStep
from mmrobust.quantities import PositiveInt


@dataclass(frozen=True, kw_only=True)
class BertAttackReleased(Attack):
    """`bert_attack` with the offset of the released ports, for comparison with published numbers.

    The ports index predictions that still hold the [CLS] row with word offsets counted from 0: a
    word is replaced by what the model expects at the position before it, the first word by what
    it predicts at [CLS].

    Fields:
        k: predictions of the masked language model for a word.
        threshold: logit below which predictions are cut.
        objective: as for `bert_attack`.

    Deviations:
        Those of `TextSearch` and `MaskedLMCandidates`, which all attacks with this search share:
        the list of stop words is the dataset's own, and a word is replaced by one word. The
        tokenizer that the released code bundles leaves out [SEP], which the model here sees as
        BERT was trained to. The released evaluation cuts captions to 30 pieces between its steps
        (an option is misspelt), here to the model's context.
    """

    k: PositiveInt = 10
    threshold: float = 0.3
    objective: Literal["away_from_text", "away_from_image"] = "away_from_text"

    def recipe(self) -> tuple[Step, ...]:
        """One text step."""
        search = bert_search(k=self.k, threshold=self.threshold, aligned=False)
        objective = TEXT_OBJECTIVES[self.objective]
        return (TextStep(search=search, guide="original", objective=objective),)
