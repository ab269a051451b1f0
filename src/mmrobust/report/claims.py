"""How a ledger of claims is to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

OWN = "none"
"""How the source of a claim begins that no paper makes."""


def reading(claims: Sequence[dict[str, Any]], *, several_seeds: bool) -> str:
    """What intervals, margins and verdicts are about, in a few sentences.

    Args:
        claims: rows of `claims.csv`.
        several_seeds: whether they were judged on more than one training seed.
    """
    over = "test images and training seeds" if several_seeds else "test images"
    told = [
        f"Each claim is a statistic with an interval over {over}, held against a margin that was "
        "fixed before the test run; where one was not, its note says so."
    ]
    if several_seeds:
        told.append(
            "Few seeds tell little of their spread. Where they differ more than images do, these "
            "intervals are too narrow and verdicts less sure than they are said to be, so each "
            "note has Student's interval over the seeds alone beside it."
        )
    else:
        told.append(
            "With one training seed a verdict is about that training run, and another may differ."
        )
    if any(claim["source"].startswith(OWN) for claim in claims):
        told.append(f'Where the source is "{OWN}", the claim is a check of our own.')
    return " ".join(told)
