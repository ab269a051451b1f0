"""The claims ledger of a study: every claim judged on the study's cells, as one CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from mmrobust.artifacts import replacing
from mmrobust.claims.entries import Claim, load_claims, select_claims
from mmrobust.claims.estimates import Estimate, estimate
from mmrobust.claims.statistics import Selection
from mmrobust.claims.verdicts import Judgement, Verdict, holm, verdict
from mmrobust.config import EvaluationConfig, build
from mmrobust.errors import UserError
from mmrobust.evaluation.cells import CLEAN, Cell, cell_path, read_cell
from mmrobust.evaluation.records import check_place
from mmrobust.intervals import EXACT, Interval, Resampling
from mmrobust.parts import Only, is_run
from mmrobust.randomness import numpy_generator

COLUMNS = (
    *("id", "statement", "source", "study", "statistic", "estimate", "low", "high"),
    *("confidence", "margin", "verdict", "verdict_confidence", "n", "seeds", "note"),
)

RESAMPLES_IN_A_TAIL = 40
"""Resamples beyond both bounds together, at least: fewer make a bound a matter of luck."""


def judge_claims(cfg: Mapping[str, Any], *, claims: Path, cells: Path, out: Path) -> None:
    """The verb `judge-claims`: write the ledger of a study.

    Args:
        cfg: `study`, its `defences`, `attacks` and `seeds`, `only` (the defences of those attacks
            that are run on some alone), `claims` (ids, in the order of the ledger), section
            `evaluation` and, where only a part of a study's claims is judged, `beside`: how many
            there are beside it. "clean" is an attack of every study.
        claims: the entries, `config/claims.yaml`.
        cells: folder of the study's cells; those left from an earlier form of it are none.
        out: the ledger, a CSV.

    Raises:
        UserError: for an entry, an id or a cell that is amiss; a cell that isn't there is none.
    """
    evaluation = build(EvaluationConfig, cfg["evaluation"], where="evaluation")
    chosen = select_claims(load_claims(claims), cfg["claims"], where=str(claims))
    rows = ledger_rows(
        chosen,
        study=cfg["study"],
        defences=cfg["defences"],
        attacks=cfg["attacks"],
        seeds=cfg["seeds"],
        only=cfg["only"],
        cells_root=cells,
        n_resamples=evaluation.n_resamples,
        confidence=evaluation.confidence,
        beside=cfg.get("beside", 0),
    )
    write_ledger(out, rows)


def ledger_rows(
    claims: Sequence[Claim],
    *,
    study: str,
    defences: Sequence[str],
    attacks: Sequence[str],
    seeds: Sequence[int],
    only: Only,
    cells_root: Path,
    n_resamples: int,
    confidence: float,
    beside: int = 0,
) -> list[dict[str, Any]]:
    """Rows of the ledger, in the order of `claims`.

    A claim whose cells are not all there is `missing`, which is no error: a study may leave out
    a defence or an attack.

    Args:
        claims: from `entries.select_claims`.
        study: name of the study; its cells must carry it.
        defences: those of the study; a cell of another counts as missing.
        attacks: the same; "clean" belongs to every study.
        seeds: training seeds, all of which are needed.
        only: the defences of those attacks that are run on some alone; their cells of others
            count as missing.
        cells_root: folder of DEFENCE/seedN/ATTACK.json.
        n_resamples: bootstrap resamples of the test images, at least.
        confidence: of each interval, and of all verdicts together, in (0, 1).
        beside: claims of the study that are not among `claims`.

    Raises:
        UserError: if a cell is there but can't be read, or belongs to another study.
    """
    rows: list[dict[str, Any]] = []
    judged: list[tuple[int, _Judged]] = []
    for claim in claims:
        wanted = _cell_files(claim, seeds, cells_root)
        absent = [
            path
            for of, paths in wanted.items()
            for path in paths
            if of.defence not in defences
            or of.attack not in (CLEAN, *attacks)
            or not is_run(of.attack, of.defence, only)
            or not path.is_file()
        ]
        row = {
            "id": claim.id,
            "statement": claim.statement,
            "source": claim.source,
            "study": study,
            "statistic": claim.statistic.describe(),
            "confidence": confidence,
            "margin": claim.margin,
            "seeds": " ".join(map(str, seeds)),
        }
        if absent:
            names = (str(path.relative_to(cells_root).with_suffix("")) for path in absent)
            missing = [f"missing cells: {', '.join(names)}"]
            row |= {"verdict": "missing", "note": _note(claim, study, missing)}
        else:
            cells = {
                selection: [_read(path, study) for path in paths]
                for selection, paths in wanted.items()
            }
            judged.append((len(rows), _Judged(claim, cells, seeds, n_resamples)))
        rows.append(row)
    verdicts = holm([of.verdict for _, of in judged], confidence=confidence, beside=beside)
    for (at, of), judgement in zip(judged, verdicts, strict=True):
        rows[at] |= of.row(study, judgement, confidence=confidence)
    return rows


class _Judged:
    """A claim of which all cells are there."""

    def __init__(
        self,
        claim: Claim,
        cells: Mapping[Selection, Sequence[Cell]],
        seeds: Sequence[int],
        n_resamples: int,
    ) -> None:
        self.claim, self.cells, self.seeds = claim, cells, seeds
        self.n_resamples = n_resamples

    def estimate(self, confidence: float) -> Estimate:
        """The statistic with its interval, from more resamples the higher the confidence."""
        resampling = Resampling(
            n_resamples=max(self.n_resamples, math.ceil(RESAMPLES_IN_A_TAIL / (1 - confidence))),
            confidence=confidence,
            generator=numpy_generator(self.seeds[0], "claims", self.claim.id),
        )
        return estimate(self.claim.statistic, self.cells, resampling)

    def verdict(self, confidence: float) -> Verdict:
        """The verdict if this were the only claim."""
        return verdict(self.estimate(confidence), self.claim.margin)

    def row(self, study: str, judgement: Judgement, *, confidence: float) -> dict[str, Any]:
        """What the ledger says of the claim beside its entry."""
        found = self.estimate(confidence)
        interval = found.interval
        notes = [
            *_photographs(self.cells.values()),
            *_part_of_images(found, self.cells.values()),
            *_caveats(found, self.seeds, confidence),
            *_correction(found, self.claim.margin, judgement, confidence),
        ]
        return {
            "estimate": found.value,
            "low": None if interval is None else interval.low,
            "high": None if interval is None else interval.high,
            "verdict": judgement.verdict,
            "verdict_confidence": round(judgement.confidence, 6),
            "n": found.n,
            "note": _note(self.claim, study, notes),
        }


def write_ledger(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows of `ledger_rows` as CSV; what is undefined stays empty."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _cell_files(
    claim: Claim, seeds: Sequence[int], cells_root: Path
) -> dict[Selection, list[Path]]:
    return {
        selection: [
            cell_path(cells_root, defence=selection.defence, seed=seed, attack=selection.attack)
            for seed in seeds
        ]
        for selection in claim.statistic.selections()
    }


def _read(path: Path, study: str) -> Cell:
    cell = read_cell(path)
    check_place(path, cell.record)
    if cell.record["study"] != study:
        raise UserError(f"{path}: is a cell of study {cell.record['study']!r}, not of {study!r}")
    return cell


def _photographs(cells: Iterable[Sequence[Cell]]) -> list[str]:
    """What the cells' pictures were made from; nothing if they were drawn."""
    found = {cell.record["source_resolution"] for of_seeds in cells for cell in of_seeds}
    return [
        "photographs of varying size" if size == "varying" else f"photographs at {size} pixels"
        for size in sorted(found - {None})
    ]


def _part_of_images(estimate: Estimate, cells: Iterable[Sequence[Cell]]) -> list[str]:
    """That cells were compared on some of the images; nothing if it was all of them."""
    images = max(cell.record["counts"]["images"] for of_seeds in cells for cell in of_seeds)
    if estimate.images == images:
        return []
    return [f"on the {estimate.images} of {images} images that all cells attack"]


def _correction(
    estimate: Estimate, margin: float, judgement: Judgement, confidence: float
) -> list[str]:
    """Why a claim that its own interval decides is left open, if so."""
    alone = verdict(estimate, margin)
    interval = estimate.interval
    if interval is not None and alone == "inconclusive" and not _holds(interval, margin):
        return ["inconclusive as the training seeds don't agree"]
    if alone != judgement.verdict:
        return [
            f"{alone} by itself at {confidence:.4g}, but not at the {judgement.confidence:.4g} "
            "that the number of claims asks for (Holm)"
        ]
    return []


def _holds(interval: Interval, margin: float) -> bool:
    return interval.low <= margin <= interval.high


def _caveats(estimate: Estimate, seeds: Sequence[int], confidence: float) -> list[str]:
    """What to keep in mind about the numbers of a row."""
    notes, interval = [], estimate.interval
    if interval is None:
        notes.append("undefined: the clean recall of a seed is 0")
    elif interval.method == EXACT:
        notes.append("interval: exact (Clopper-Pearson), as the bootstrap gives none")
        if math.isinf(interval.low):
            notes.append("no lower bound: the clean recall can't be told from 0")
    if len(estimate.per_seed) > 1:
        notes.append(_by_seed(estimate.per_seed, seeds, confidence))
    elif estimate.per_seed:
        notes.append("one training seed: its spread is unknown")
    return notes


def _by_seed(per_seed: Sequence[float], seeds: Sequence[int], confidence: float) -> str:
    """The value of each seed, and Student's interval of their mean, which knows no images."""
    values = ", ".join(f"{seed}: {of:.3f}" for seed, of in zip(seeds, per_seed, strict=True))
    mean = sum(per_seed) / len(per_seed)
    half = stats.t.ppf((1 + confidence) / 2, len(per_seed) - 1) * stats.sem(per_seed)
    return (
        f"by training seed {values} (spread {max(per_seed) - min(per_seed):.3f}; the interval is "
        "over test images and these seeds; by the seeds alone, Student's t: "
        f"[{mean - half:.3f}, {mean + half:.3f}])"
    )


def _note(claim: Claim, study: str, notes: Sequence[str]) -> str:
    own = [claim.note, claim.world_note if study in claim.chosen_in else ""]
    return "; ".join(part for part in [*own, *notes] if part)
