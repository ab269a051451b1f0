"""The verb `evaluate-model`: one model under every attack of a study, a cell for each."""

from __future__ import annotations

import torch

from mmrobust.config import build
from mmrobust.errors import UserError
from mmrobust.evaluation.cells import write_cell
from mmrobust.evaluation.evaluator import Evaluator, Folders, Section, build_attack
from mmrobust.evaluation.flags import flag_cells
from mmrobust.example_records import write_examples
from mmrobust.runfacts import RunFacts
from mmrobust.threat import ThreatModel


def evaluate_model(cfg: Section, folders: Folders) -> None:
    """Write the clean cell, one cell an attack and ensemble, their examples, and `run.json`.

    Args:
        cfg: `study`, `defence`, `seed`, `threads`, `device`, `data_seed`, sections `dataset`,
            `evaluation`, `attacks`, `ensembles` and `threat_models`, and `code`: a fingerprint of
            the code behind each cell, by name.
        folders: what is read and written.

    Raises:
        UserError: bad input; an attack that is unfit for its threat model is told before anything
            is computed.
    """
    facts = RunFacts("evaluate-model")
    torch.set_num_threads(cfg["threads"])
    check_attacks(cfg)
    evaluation = Evaluator(cfg, folders)
    for name, entry in cfg["attacks"].items():
        if entry.get("standalone", True):
            evaluation.of_attack(name)
    for name in cfg["ensembles"]:
        evaluation.of_ensemble(name)
    for name, cell in flag_cells(evaluation.cells).items():
        write_cell(folders.cells / f"{name}.json", cell)
    for name, examples in evaluation.examples.items():
        write_examples(folders.examples / f"{name}.parquet", examples)
    facts.write(folders.cells / "run.json", cells_computed=evaluation.computed)


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
