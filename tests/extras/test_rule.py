"""Diffusion through the rule that augments, as a user runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import yaml


def test_a_model_in_a_folder_draws_through_the_rule_and_is_learned_from(
    diffusion_model, fresh_clone, tool
):
    clone: Path = fresh_clone("diffusion")
    file = clone / "config" / "smoke.yaml"
    study = yaml.safe_load(file.read_text())
    study["dataset"]["splits"] = {"train": 32, "dev": 20, "test": 40}
    shared = {"model": str(diffusion_model), "n": 1, "size": 32, "steps": 2}
    study["augmentations"] = {
        "drawn": {"method": "text_diffusion", **shared},
        "redrawn": {"method": "image_diffusion", **shared},
    }
    study["defences"]["mat_plus"]["augmentations"] = {"drawn": 1, "redrawn": 1}
    study["sweeps"] = {}
    model = "results/smoke/models/mat_plus/seed0/model.safetensors"
    file.write_text(yaml.safe_dump(study, sort_keys=False))
    tool(
        *("snakemake", "--cores", "2", "--configfile", "config/smoke.yaml"),
        *("--", "augmentation", model, "results/smoke/augmentations.csv"),
        cwd=clone,
    )
    assert (clone / model).is_file()
    table = pd.read_csv(clone / "results" / "smoke" / "augmentations.csv")
    aligned = table[table["measure"] == "alignment"].set_index("augmentation")
    assert set(aligned.index) == {"drawn", "redrawn"}
    assert aligned["value"].between(-1, 1).all()
    pictures = {
        name: np.load(clone / "data" / "augmented" / "smoke" / name / "images.npy")
        for name in ("drawn", "redrawn")
    }
    originals = np.load(clone / "data" / "processed" / "smoke" / "train" / "images.npy")
    for drawn in pictures.values():
        assert drawn.shape == originals.shape
        assert (drawn != originals).reshape(32, -1).any(axis=1).all()
    assert (pictures["drawn"] != pictures["redrawn"]).any()
