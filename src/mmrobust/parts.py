"""Parts of a study: what is run on some of its defences only, and targets that ask for some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmrobust.errors import unknown_name

if TYPE_CHECKING:
    from mmrobust.study import Study

Entries = Mapping[str, Mapping[str, Any]]
Only = Mapping[str, Sequence[str]]
"""Defences by the name of the cell that is run on these alone; other cells are run on all."""


def is_run(cell: str, defence: str, only: Only) -> bool:
    """Whether a study means to run an attack or ensemble on a defence."""
    return defence in only.get(cell, (defence,))


def limited(attacks: Entries, ensembles: Entries) -> dict[str, list[str]]:
    """Which attacks, points of curves and ensembles of a study are run on which defences alone."""
    entries = {**attacks, **ensembles}
    return {name: of["defences"] for name, of in entries.items() if "defences" in of}


def attacks_on(study: Study, defence: str) -> list[str]:
    """Names of the attacks that have a cell of their own on a defence, in the study's order.

    One that isn't standalone has none: ensembles run it.
    """
    return [
        name
        for name, entry in study.attacks.items()
        if entry.get("standalone", True) and defence in entry.get("defences", study.defences)
    ]


def ensembles_on(study: Study, defence: str) -> list[str]:
    """Names of the ensembles that are run on a defence, in the study's order."""
    return [
        name
        for name, entry in study.ensembles.items()
        if defence in entry.get("defences", study.defences)
    ]


def cells_on(study: Study, defence: str) -> list[str]:
    """Names of the cells of a defence's models, in the study's order; the clean one leads."""
    return ["clean", *attacks_on(study, defence), *ensembles_on(study, defence)]


def evaluated(study: Study, cells: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The sections `attacks` and `ensembles` as some cells of a model need them.

    Members of its ensembles are among the attacks. An entry doesn't say which defences it is run
    on, so that a changed list leaves the cells of the others as they are.
    """
    ensembles = [name for name in study.ensembles if name in cells]
    needed = {*cells, *(name for of in ensembles for name in study.ensembles[of]["members"])}
    return {
        "attacks": {
            name: _without_defences(entry)
            for name, entry in study.attacks.items()
            if name in needed
        },
        "ensembles": {name: _without_defences(study.ensembles[name]) for name in ensembles},
    }


def _without_defences(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "defences"}


def check_parts(study: Study, where: str) -> None:
    """Raise `UserError` for a defence that the study doesn't have.

    Args:
        study: with its curves laid out.
        where: file of the study.
    """
    own = {name: entry for name, entry in study.attacks.items() if "curve" not in entry}
    sections = {"attacks": own, "curves": study.curves, "ensembles": study.ensembles}
    for key, section in sections.items():
        for name, entry in section.items():
            _check_known(study, entry.get("defences", ()), f"{where}: {key}.{name}.defences:")
    for name, defences in study.targets.items():
        _check_known(study, defences, f"{where}: targets.{name}:")


def _check_known(study: Study, defences: Sequence[str], place: str) -> None:
    for defence in defences:
        if defence not in study.defences:
            raise unknown_name(f"defence in {place}", defence, study.defences)
