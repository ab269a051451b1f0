"""The study that a run plans, from the configuration that Snakemake read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mmrobust.errors import UserError, unknown_name
from mmrobust.study import Study, parse_study


def planned_study(values: Mapping[str, Any], *, files: Sequence[str | Path], claims: Path) -> Study:
    """Check what was asked for before any job is planned.

    A study's results lie in a folder of its name, so the name must be its file's: a copied file
    that kept the old name would overwrite the other study's results.

    Args:
        values: The configuration.
        files: The files that it was read from.
        claims: The entries that a study's `claims` name.

    Raises:
        UserError: One line on what is wrong, and where.
    """
    shown = [os.path.relpath(file) for file in files]
    where = ", ".join(shown)
    study = parse_study(values, where=where)
    for file in shown:
        if Path(file).stem != study.study:
            raise UserError(f"{file}: `study` is {study.study!r}; it must be the file's name")
    known = claim_ids(claims) if study.claims else []
    for claim in study.claims:
        if claim not in known:
            raise unknown_name(f"claim in {where}: claims:", claim, known)
    return study


def claim_ids(path: Path) -> list[str]:
    """List the ids of the claims that are written down; the job that judges checks the rest."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["claims"]
        return [str(entry["id"]) for entry in entries]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: not a list of claims with ids ({problem})") from None
