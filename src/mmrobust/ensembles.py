"""Ensembles of a study: attacks whose worst case is taken, within one threat model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmrobust.errors import UserError, unknown_name
from mmrobust.grid import TAKEN, distance, threat_model_of

if TYPE_CHECKING:
    from mmrobust.study import Study

Section = dict[str, Any]


def check_ensembles(study: Study, where: str) -> None:
    """Raise `UserError` for an ensemble whose members are no part of it, or an attack left out.

    Args:
        study: with its curves laid out.
        where: file of the study.
    """
    for name, ensemble in study.ensembles.items():
        _check_ensemble(study, name, ensemble, where)
    used = {member for of in study.ensembles.values() for member in of["members"]}
    used |= {curve["attack"] for curve in study.curves.values()}
    for name, entry in study.attacks.items():
        if not entry.get("standalone", True) and name not in used:
            raise UserError(
                f"{where}: attacks.{name}.standalone: false, but no ensemble has it as a member "
                "and no curve is over it"
            )


def has_recall(worst_case: str, direction: str) -> bool:
    """Whether recall of a direction's queries is given: one about the others has none.

    Args:
        worst_case: of an ensemble, the direction that it is about, or both; empty for no ensemble.
        direction: i2t or t2i.
    """
    return worst_case in ("", "both", direction)


def _check_ensemble(study: Study, name: str, ensemble: Section, where: str) -> None:
    place = f"{where}: ensembles.{name}"
    if name in (*TAKEN, *study.attacks):
        raise UserError(f"{place}: the name is taken by a cell of the study")
    if ensemble["threat_model"] not in study.threat_models:
        kind = f"threat model in {place}.threat_model"
        raise unknown_name(kind, ensemble["threat_model"], study.threat_models)
    allowed = study.threat_models[ensemble["threat_model"]]
    for member in ensemble["members"]:
        if member not in study.attacks:
            raise unknown_name(f"attack in {place}.members:", member, study.attacks)
        budgets = threat_model_of(study, member, where)
        if not _knows_no_more(budgets, allowed):
            raise UserError(
                f"{place}.members: {member!r} knows another thing of the model "
                f"({_knowledge(budgets)}) than the ensemble's threat model allows "
                f"({_knowledge(allowed)})"
            )
        norms = [_norm(of) for of in (budgets, allowed)]
        if None not in norms and norms[0] != norms[1]:
            raise UserError(
                f"{place}.members: {member!r} has another norm "
                f"({norms[0]}; the ensemble's: {norms[1]})"
            )
        if not _within(budgets, allowed):
            raise UserError(
                f"{place}.members: {member!r} has a larger budget "
                f"({study.attacks[member]['threat_model']}) than the ensemble's threat model "
                f"({ensemble['threat_model']})"
            )
        own = study.attacks[member].get("items")
        runs_alone = study.attacks[member].get("standalone", True)
        if runs_alone and own is not None and own < ensemble.get("items", own + 1):
            raise UserError(
                f"{place}.members: {member!r} attacks {own} items, fewer than the ensemble "
                "(allowed: as many or more, or `standalone: false`)"
            )
        run_on = study.attacks[member].get("defences", study.defences)
        absent = [of for of in ensemble.get("defences", study.defences) if of not in run_on]
        if runs_alone and absent:
            raise UserError(
                f"{place}: is run on {', '.join(absent)} and its member {member!r} is not "
                f"(allowed: `defences` among {', '.join(run_on)}, or a member with "
                "`standalone: false`)"
            )


def _knows_no_more(inner: Section, outer: Section) -> bool:
    """Whether an attacker of one knowledge can stand for one of the other.

    Who knows the weights can also ask for scores alone, or craft on another model.
    """
    known = _knowledge(outer)
    return known in ("white_box", _knowledge(inner))


def _knowledge(threat_model: Section) -> str:
    knowledge: str = threat_model.get("knowledge", "white_box")
    return f"transfer from {threat_model['source']}" if knowledge == "transfer" else knowledge


def _norm(threat_model: Section) -> str | None:
    image = threat_model.get("image")
    return None if image is None else image.get("norm", "linf")


def _within(inner: Section, outer: Section) -> bool:
    """Whether all that one threat model allows is allowed by the other of the same norm."""
    image, text = inner.get("image"), inner.get("text")
    if image is not None:
        outer_image = outer.get("image")
        if outer_image is None or distance(image["eps"]) > distance(outer_image["eps"]):
            return False
    if text is None:
        return True
    outer_text = outer.get("text")
    if outer_text is None or text["words"] > outer_text["words"]:
        return False
    if outer_text.get("keeps_truth", False) and not text.get("keeps_truth", False):
        return False
    limit = outer_text.get("characters")
    return limit is None or (text.get("characters") is not None and text["characters"] <= limit)
