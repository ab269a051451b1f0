"""Parts of a study: attacks and ensembles that are run on some of its defences only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Only = Mapping[str, Sequence[str]]
"""Defences by the name of the cell that is run on these alone; other cells are run on all."""


def is_run(cell: str, defence: str, only: Only) -> bool:
    """Whether a study means to run an attack or ensemble on a defence."""
    return defence in only.get(cell, (defence,))
