"""The verb `evaluate-model`: one model under every attack of a study, a cell for each."""

from __future__ import annotations

import torch

from mmrobust.evaluation.cells import write_cell
from mmrobust.evaluation.evaluator import Evaluator, Folders, Section
from mmrobust.evaluation.flags import flag_cells
from mmrobust.example_records import write_examples
from mmrobust.runfacts import RunFacts


def evaluate_model(cfg: Section, folders: Folders) -> None:
    """Write the clean cell, one cell an attack and ensemble, their examples, and `run.json`.

    Args:
        cfg: `study`, `defence`, `seed`, `threads`, `device`, `data_seed`, sections `dataset`,
            `evaluation`, `attacks`, `ensembles` and `threat_models`, and `code`: a fingerprint of
            the code behind each cell, by name.
        folders: what is read and written.
    """
    facts = RunFacts("evaluate-model")
    torch.set_num_threads(cfg["threads"])
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
