"""BERT-Attack as the released code of Co-Attack and SGA runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmrobust.attacks.bert_attack import BertAttack


@dataclass(frozen=True, kw_only=True)
class BertAttackReleased(BertAttack):
    """`bert_attack` with the offset of the released ports, for comparison with published numbers.

    The ports index predictions that still hold the [CLS] row with word offsets counted from 0: a
    word is replaced by what the model expects at the position before it, the first word by what
    it predicts at [CLS].

    Deviations:
        Those of `TextSearch` and `MaskedLMCandidates`, which all attacks with this search share:
        the list of stop words is the dataset's own, and a word is replaced by one word. The
        tokenizer that the released code bundles leaves out [SEP], which the model here sees as
        BERT was trained to. The released evaluation cuts captions to 30 pieces between its steps
        (an option is misspelt), here to the model's context.
    """

    aligned: ClassVar[bool] = False
