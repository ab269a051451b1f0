"""Attacks: a joint attack is a recipe of image and text steps; one wrapper holds the budgets."""

from collections.abc import Mapping

ATTACKS: Mapping[str, str] = {
    "adaptive": "mmrobust.attacks.adaptive:Adaptive",
    "apgd": "mmrobust.attacks.apgd:APGD",
    "bert_attack": "mmrobust.attacks.bert_attack:BertAttack",
    "bert_attack_released": "mmrobust.attacks.bert_attack_released:BertAttackReleased",
    "character_edits": "mmrobust.attacks.character_edits:CharacterEdits",
    "co_attack": "mmrobust.attacks.co_attack:CoAttack",
    "di_fgsm": "mmrobust.attacks.di_fgsm:DIFGSM",
    "dra": "mmrobust.attacks.dra:DRA",
    "fgsm": "mmrobust.attacks.fgsm:FGSM",
    "mi_fgsm": "mmrobust.attacks.mi_fgsm:MIFGSM",
    "multi_scale_pgd": "mmrobust.attacks.multi_scale_pgd:MultiScalePGD",
    "pgd": "mmrobust.attacks.pgd:PGD",
    "sep_attack": "mmrobust.attacks.sep_attack:SepAttack",
    "sga": "mmrobust.attacks.sga:SGA",
    "square": "mmrobust.attacks.square:Square",
    "word_substitution": "mmrobust.attacks.word_substitution:WordSubstitution",
}
