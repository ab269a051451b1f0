"""A study of a few items, whose verbs are run one by one and not by Snakemake."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.faults.disks import mount_small_disk
from tests.faults.verbs import Verb, run_verb, verbs_of
from tests.forks import in_fork

LEXICON = {"candidates": {"kind": "lexicon"}}


def tiny_study(smoke: dict[str, Any]) -> dict[str, Any]:
    """The smoke study, so small that a verb takes less than a second."""
    attack = {"method": "pgd", "threat_model": "image_2_255", "steps": 1}
    words = {"method": "word_substitution", "threat_model": "text_1word"}
    both = {"method": "sga", "threat_model": "white_box_2_255_1word", "steps": 1, "scales": [0.5]}
    members = {"threat_model": "white_box_2_255_1word", "members": ["pgd", "words"]}
    kept = {name: smoke["defences"][name] for name in ("standard", "mat_plus")}
    return {
        **smoke,
        "study": "tiny",
        "dataset": {
            "name": "scenes",
            "splits": {"train": 32, "dev": 4, "test": 10},
            "image_size": 32,
        },
        "training": {**smoke["training"], "epochs": 1, "batch_size": 16},
        "masked_lm": {
            **smoke["masked_lm"],
            "training": {"epochs": 1, "batch_size": 32, "learning_rate": 0.003},
        },
        "augmentations": {
            "paraphrases": {"method": "scenes_paraphrase", "n": 2},
            "renderings": {"method": "scenes_render", "n": 1},
        },
        "defences": kept,
        "attacks": {"pgd": attack, "words": words, "sga": {**both, "text": LEXICON}},
        "curves": {},
        "ensembles": {"strongest": members},
        "sweeps": {},
        "evaluation": {**smoke["evaluation"], "gallery_images": [10], "examples": 2},
        "claims": ["undefended_collapses"],
    }


@pytest.fixture(scope="session")
def tiny(fresh_clone, tool) -> tuple[Path, list[Verb]]:
    """A clone with such a study, whose verbs were run in their order, and these verbs.

    Notebooks, which take a process of their own, are left to `tests/figures/test_notebook.py`.
    """
    clone = fresh_clone("tiny")
    smoke = yaml.safe_load((clone / "config" / "smoke.yaml").read_text())
    file = clone / "config" / "tiny.yaml"
    file.write_text(yaml.safe_dump(tiny_study(smoke), sort_keys=False))
    planned = tool(
        *("snakemake", "--dry-run", "--printshellcmds", "--cores", "1"),
        *("--configfile", "config/tiny.yaml"),
        cwd=clone,
    )
    verbs = [verb for verb in verbs_of(planned.stdout) if verb[0] != "draw-figures"]
    for verb in verbs:
        ended = run_verb(verb, clone)
        assert ended.status == 0, ended.told
    return clone, verbs


@pytest.fixture
def project(tiny, tmp_path) -> Path:
    """A copy of what the verbs of the tiny study read and wrote."""
    for name in ("data", "results/tiny", "config", "work"):
        shutil.copytree(tiny[0] / name, tmp_path / "project" / name)
    return tmp_path / "project"


@pytest.fixture(scope="session")
def small_disks(tmp_path_factory) -> None:
    """Skips where nobody may mount one."""
    folder = tmp_path_factory.mktemp("disk")
    if in_fork(lambda: mount_small_disk(folder), folder).status != 0:
        pytest.skip("nobody may mount a small disk here")
