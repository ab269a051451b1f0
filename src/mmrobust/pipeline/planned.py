"""The study that a run plans, from the configuration that Snakemake read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmrobust.claims.planning import check_claims
from mmrobust.errors import UserError
from mmrobust.study import Study, parse_study
from mmrobust.yaml_file import read_yaml

CHECKPOINT = ("model.safetensors", "model.json")
"""Files of a checkpoint that an attack can be crafted on."""


def planned_study(
    values: Mapping[str, Any],
    *,
    files: Sequence[str | Path],
    claims: Path,
    warn: Callable[[str], None],
) -> Study:
    """Check what was asked for before any job is planned.

    A study's results lie in a folder of its name, so the name must be its file's: a copied file
    that kept the old name would overwrite the other study's results.

    Args:
        values: The configuration.
        files: The files that it was read from.
        claims: The entries that a study's `claims` name.
        warn: Told of claims that the study can't judge as it has no cells for them.

    Raises:
        UserError: One line on what is wrong, and where.
    """
    shown = [os.path.relpath(file) for file in files]
    where = ", ".join(shown)
    for file in shown:
        read_yaml(Path(file))  # stricter than Snakemake, which lets a key stand twice
    study = parse_study(values, where=where)
    for file in shown:
        if Path(file).stem != study.study:
            raise UserError(f"{file}: `study` is {study.study!r}; it must be the file's name")
    for line in check_claims(study, claims, where):
        warn(line)
    _check_sources(study, where)
    return study


def _check_sources(study: Study, where: str) -> None:
    """A folder that attacks are transferred from holds a checkpoint, or is made by a study."""
    for name, threat_model in study.threat_models.items():
        folder = threat_model.get("source") or ""
        if "/" not in folder or Path(folder).resolve().is_relative_to(Path("results").resolve()):
            continue
        if not all((Path(folder) / file).is_file() for file in CHECKPOINT):
            raise UserError(
                f"{where}: threat_models.{name}.source: {folder} holds no checkpoint "
                f"({', '.join(CHECKPOINT)})"
            )
