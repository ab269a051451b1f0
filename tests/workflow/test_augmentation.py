"""Models of transformers through the rule that augments, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from tests.augment.tiny_models import gpt2, save, save_blip, sharpened, tiny_blip

pytestmark = pytest.mark.workflow


@pytest.fixture
def clone(fresh_clone, tmp_path) -> Path:
    """A clone whose smoke study is augmented by models in folders."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        language_model = save(tmp_path / "gpt2", sharpened(gpt2(tie_word_embeddings=False)))
    captioner = save_blip(*tiny_blip(), tmp_path / "blip")
    folder = fresh_clone("augmentation")
    file = folder / "config" / "smoke.yaml"
    study = yaml.safe_load(file.read_text())
    study["dataset"]["splits"] = {"train": 32, "dev": 20, "test": 40}
    study["augmentations"] = {
        "rewritten": {"method": "rewrite", "model": str(language_model), "n": 1},
        "captioned": {"method": "captioner", "model": str(captioner), "n": 2},
        "eda": {"method": "eda", "n": 1},
        "moved": {"method": "randaugment", "n": 1},
    }
    study["sweeps"] = {}
    study["defences"]["mat_plus"]["augmentations"] = {"rewritten": 1, "captioned": 2, "moved": 1}
    file.write_text(yaml.safe_dump(study, sort_keys=False))
    return folder


def test_models_in_folders_augment_through_the_rule_and_are_learned_from_and_measured(clone, tool):
    model = "results/smoke/models/mat_plus/seed0/model.safetensors"
    tool(
        *("snakemake", "--cores", "2", "--configfile", "config/smoke.yaml"),
        *("--", "augmentation", model, "results/smoke/augmentations.csv"),
        cwd=clone,
    )
    assert (clone / model).is_file()
    table = pd.read_csv(clone / "results" / "smoke" / "augmentations.csv")
    aligned = table[table["measure"] == "alignment"].set_index(["augmentation", "n"])
    assert set(aligned.index) == {
        *(("rewritten", 1), ("captioned", 1), ("captioned", 2), ("eda", 1), ("moved", 1))
    }
    assert (aligned["items"] == 32).all()
    assert aligned["value"].between(-1, 1).all()
    assert aligned["value"].nunique() == len(aligned)
    made = {
        name: pd.read_parquet(clone / "data" / "augmented" / "smoke" / name / "items.parquet")
        for name in ("rewritten", "captioned", "eda", "moved")
    }
    assert {name: len(items) for name, items in made.items()} == {
        "rewritten": 32,
        "captioned": 64,
        "eda": 32,
        "moved": 32,
    }
    first = made["captioned"].query("number == 0")["caption"]
    second = made["captioned"].query("number == 1")["caption"]
    assert made["captioned"]["changed"].all()
    assert (made["captioned"]["source_caption"] == -1).all()
    assert (made["rewritten"]["source_caption"] >= 0).all()
    assert (first.to_numpy() != second.to_numpy()).mean() > 0.5
    assert made["rewritten"]["changed"].mean() > 0.25
    assert made["eda"]["changed"].mean() > 0.5
    done = tool(
        *("snakemake", "--cores", "1", "--dry-run", "--configfile", "config/smoke.yaml"),
        *("--", "augmentation"),
        cwd=clone,
    )
    assert "Nothing to be done" in done.stdout
