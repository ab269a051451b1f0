"""The verbs `evaluate-model` and `evaluate-cell`: a model under all attacks of a study, or one."""

from __future__ import annotations

import torch

from mmrobust.artifacts import together
from mmrobust.config import build
from mmrobust.errors import UserError
from mmrobust.evaluation.cells import write_cell
from mmrobust.evaluation.evaluator import Evaluator, build_attack
from mmrobust.evaluation.flags import flag_cells
from mmrobust.evaluation.keys import Folders, Section
from mmrobust.example_records import write_examples
from mmrobust.runfacts import RunFacts
from mmrobust.threat import ThreatModel


def evaluate_model(cfg: Section, folders: Folders) -> None:
    """Write the clean cell, one cell an attack and ensemble, their examples, and `run.json`.

    Args:
        cfg: `study`, `defence`, `seed`, `threads`, `device`, `data_seed`, sections `dataset`,
            `evaluation`, `attacks`, `ensembles` and `threat_models`, `code`: a fingerprint of the
            code behind each cell, by name, and `asks_masked_lm`: attacks that ask that model.
        folders: what is read and written.

    Raises:
        UserError: bad input; an attack that is unfit for its threat model is told before anything
            is computed.
    """
    facts = RunFacts("evaluate-model")
    evaluation = _evaluated(cfg, folders)
    with together():
        for name, cell in flag_cells(evaluation.cells).items():
            write_cell(folders.cells / f"{name}.json", cell)
        for name, examples in evaluation.examples.items():
            if folders.examples is not None:
                write_examples(folders.examples / f"{name}.parquet", examples)
        facts.write(
            folders.cells / "run.json",
            cells_computed=evaluation.computed,
            cell_seconds=evaluation.seconds,
        )


def evaluate_cell(cfg: Section, folders: Folders, *, cell: str) -> None:
    """Write one cell, flagged by what else it took to compute it; the store keeps it all.

    Args:
        cfg: as for `evaluate_model`, of this cell alone.
        folders: what is read and written.
        cell: its attack or ensemble, or `clean`.

    Raises:
        UserError: as for `evaluate_model`.
    """
    evaluation = _evaluated(cfg, folders)
    write_cell(folders.cells / f"{cell}.json", flag_cells(evaluation.cells)[cell])


def _evaluated(cfg: Section, folders: Folders) -> Evaluator:
    torch.set_num_threads(cfg["threads"])
    check_attacks(cfg)
    evaluation = Evaluator(cfg, folders)
    for name, entry in cfg["attacks"].items():
        if entry.get("standalone", True):
            evaluation.of_attack(name)
    for name in cfg["ensembles"]:
        evaluation.of_ensemble(name)
    return evaluation


def check_attacks(cfg: Section) -> None:
    """Raise `UserError` for an attack that can't be built or is unfit for its threat model."""
    for name, entry in cfg["attacks"].items():
        section, where = cfg["threat_models"][entry["threat_model"]], entry["threat_model"]
        threat_model = build(ThreatModel, section, where=f"threat_models.{where}")
        attack = build_attack(name, entry)
        try:
            attack.check(threat_model)
        except UserError as error:
            raise UserError(f"attacks.{name}: {error}") from None
        if attack.uses_masked_lm() != (name in cfg["asks_masked_lm"]):
            raise UserError(f"asks_masked_lm: is wrong of attacks.{name}, whose cell hangs on it")
