"""Attacks: a joint attack is a recipe of image and text steps; one wrapper holds the budgets."""

from collections.abc import Mapping

ATTACKS: Mapping[str, str] = {
    "pgd": "mmrobust.attacks.pgd:PGD",
    "sga": "mmrobust.attacks.sga:SGA",
    "word_substitution": "mmrobust.attacks.word_substitution:WordSubstitution",
}
