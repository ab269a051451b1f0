"""What a study's augmentations and the defences that learn from them say of each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmrobust.errors import UserError, unknown_name

if TYPE_CHECKING:
    from mmrobust.study import Study


def check_augmentations(study: Study, of_dataset: Mapping[str, str], where: str) -> None:
    """Raise `UserError` for an augmentation that can't be made or that isn't there.

    Args:
        study: whose sections are well-formed.
        of_dataset: methods that are of one dataset alone, and of which.
        where: file of the study.
    """
    dataset = study.dataset["name"]
    if study.augmentations and study.judge is None:
        raise UserError(
            f"{where}: augmentations are measured by a model that is not under test, so the study "
            "needs a section `judge`"
        )
    if study.judge is not None and "pretrained" in study.model:
        judging = study.judge.get("model", study.model)
        if judging.get("pretrained") == study.model["pretrained"]:
            raise UserError(
                f"{where}: judge.model: must be another than the pretrained model under test"
            )
    if study.judge is not None and study.judge["seed"] in study.seeds:
        raise UserError(
            f"{where}: judge.seed: {study.judge['seed']} is a seed of the study's own models; "
            "allowed is any other"
        )
    for name, entry in study.augmentations.items():
        wanted = of_dataset.get(entry["method"], dataset)
        if wanted != dataset:
            raise UserError(
                f"{where}: augmentations.{name}.method: {entry['method']!r} is of dataset "
                f"{wanted!r}, not {dataset!r}"
            )
    for name, entry in study.defences.items():
        for used, n in entry.get("augmentations", {}).items():
            place = f"{where}: defences.{name}.augmentations"
            if used not in study.augmentations:
                raise unknown_name(f"augmentation in {place}:", used, study.augmentations)
            made = study.augmentations[used]["n"]
            if n > made:
                raise UserError(f"{place}.{used}: {n} is above the {made} that are made")
