"""What planning must know of a study's claims: whether they can be judged at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mmrobust.claims.entries import Claim, load_claims, select_claims
from mmrobust.ensembles import has_recall
from mmrobust.errors import UserError
from mmrobust.grid import evaluated_images
from mmrobust.parts import cells_on

if TYPE_CHECKING:
    from mmrobust.study import Study


def check_claims(study: Study, claims: Path, where: str) -> list[str]:
    """Read the ledger's entries and hold the claims that a study names against its cells.

    Args:
        study: with its curves and sweeps laid out.
        claims: the entries, `config/claims.yaml`.
        where: file of the study.

    Returns:
        A line for each claim whose verdict will be `missing`, which is no error: a study may
        leave out a defence or an attack.

    Raises:
        UserError: an entry that is amiss, whoever names it; an id that no entry has; a recall that
            the study doesn't measure.
    """
    if not study.claims:
        return []
    chosen = select_claims(load_claims(claims), study.claims, where=f"{where}: claims")
    for claim in chosen:
        _check_measure(study, claim, where)
    absent = {claim.id: list(_absent(study, claim)) for claim in chosen}
    return [
        f"{where}: claims: {name!r} will be missing: the study has no cell {', '.join(cells)}"
        for name, cells in absent.items()
        if cells
    ]


def _check_measure(study: Study, claim: Claim, where: str) -> None:
    """Some cells are measured under own_pair alone, or for queries of one direction."""
    measure = claim.statistic.measure
    place = f"{where}: claims: {claim.id!r} is judged"
    sizes = study.evaluation["gallery_images"]
    if measure.gallery_images is not None and measure.gallery_images not in sizes:
        raise UserError(
            f"{place} in galleries of {measure.gallery_images} images, which "
            f"evaluation.gallery_images lacks (allowed: {', '.join(map(str, sizes))})"
        )
    for attack in sorted({cell.attack for cell in claim.statistic.selections()}):
        ensemble = study.ensembles.get(attack)
        about = "" if ensemble is None else ensemble.get("direction", "both")
        if not has_recall(about, measure.direction):
            raise UserError(
                f"{place} on {measure.direction} queries, but ensemble {attack!r} is the worst "
                f"case of {about} alone"
            )
        deepest = max(study.evaluation["ks"])
        if ensemble is not None and measure.k > deepest:
            raise UserError(
                f"{place} at k = {measure.k}, but ensemble {attack!r} is a worst case only up to "
                f"the largest of evaluation.ks, {deepest}"
            )
        if measure.protocol != "full_gallery":
            continue
        if ensemble is not None:
            raise UserError(
                f"{place} under full_gallery, but ensemble {attack!r} is measured under own_pair "
                "alone"
            )
        items = study.attacks.get(attack, {}).get("items")
        if items is not None and items != evaluated_images(study):
            raise UserError(
                f"{place} under full_gallery, but attacks.{attack} has `items`, which are measured "
                "under own_pair alone"
            )


def _absent(study: Study, claim: Claim) -> Iterator[str]:
    """Cells that a claim compares and the study doesn't mean to have."""
    for of in claim.statistic.selections():
        if of.defence not in study.defences or of.attack not in cells_on(study, of.defence):
            yield f"{of.defence}/{of.attack}"
