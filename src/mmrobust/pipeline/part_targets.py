"""Parts of a study that can be asked for by name: a defence, an attack, a seed, a claim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmrobust.claims.entries import load_claims, select_claims
from mmrobust.parts import cells_on

if TYPE_CHECKING:
    from mmrobust.study import Study


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some cells of a study.

    Fields:
        name: of the target that asks for it.
        cells: names of cells by defence.
        seeds: those of the models.
        whole: it takes all cells of each of its models, which one job computes.
        claim: the claim that is judged by these cells; None if it is none.
    """

    name: str
    cells: Mapping[str, Sequence[str]]
    seeds: Sequence[int]
    whole: bool = False
    claim: str | None = None


def part_targets(study: Study, claims: Path) -> dict[str, Part]:
    """List the parts of a study by the names of their targets.

    `defence_NAME`, `seed_K`, `attack_NAME` (an attack, a point of a curve or an ensemble, on all
    models that it is run on, beside the clean cells), `claim_ID`, and the study's own `targets`.

    Args:
        study: With its curves and sweeps laid out.
        claims: The entries that its `claims` name.
    """
    return {part.name: part for part in _parts(study, claims)}


def _parts(study: Study, claims: Path) -> Iterator[Part]:
    whole = {defence: cells_on(study, defence) for defence in study.defences}
    for defence, cells in whole.items():
        yield Part(name=f"defence_{defence}", cells={defence: cells}, seeds=study.seeds, whole=True)
    for seed in study.seeds:
        yield Part(name=f"seed_{seed}", cells=whole, seeds=[seed], whole=True)
    for name, defences in study.targets.items():
        chosen = {defence: whole[defence] for defence in defences}
        yield Part(name=name, cells=chosen, seeds=study.seeds, whole=True)
    for attack in [*study.attacks, *study.ensembles]:
        on = {defence: ["clean", attack] for defence in whole if attack in whole[defence]}
        if on:
            yield Part(name=f"attack_{attack}", cells=on, seeds=study.seeds)
    if study.claims:
        for claim in select_claims(load_claims(claims), study.claims, where="claims"):
            compared: dict[str, list[str]] = {}
            for of in claim.statistic.selections():
                if of.attack in whole.get(of.defence, ()):
                    compared.setdefault(of.defence, []).append(of.attack)
            if compared:
                yield Part(
                    name=f"claim_{claim.id}", cells=compared, seeds=study.seeds, claim=claim.id
                )
