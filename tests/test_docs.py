"""What the documents say of code and studies is so."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from tests.attacks.conftest import LEXICON, ToyEncoder

from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.text_search.base import Language

ROOT = Path(__file__).parents[1]
EXTENDING = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
NAME = re.compile(r"`([a-z0-9_]+)`")


def rows_of(text: str) -> dict[str, list[str]]:
    """Rows of the tables of a text, by their first column."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {first: rest for first, *rest in rows}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", EXTENDING, flags=re.DOTALL)


RECORDS = sorted((ROOT / "docs" / "reference_results" / "benchmarks").glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_benchmark_of_record_is_what_its_script_printed(path: Path) -> None:
    script = ROOT / "benchmarks" / f"{path.stem.removesuffix('_memory')}.py"
    page = path.with_name("README.md").read_text(encoding="utf-8")
    assert script.is_file()
    assert f"({path.name})" in page
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found


def test_the_page_of_benchmarks_has_the_recorded_rates() -> None:
    folder = ROOT / "docs" / "reference_results" / "benchmarks"
    found = json.loads((folder / "augmentation.json").read_text(encoding="utf-8"))
    page = (folder / "README.md").read_text(encoding="utf-8")
    for rates in (found["captions_per_s"], found["pictures_per_s"]):
        for method, rate in rates.items():
            assert f"`{method}` | {rate:,.0f} |" in page
    step = json.loads((folder / "training_step.json").read_text(encoding="utf-8"))
    assert f"takes {step['mat_step_over_passes']:.2f} times" in page


@pytest.mark.parametrize(("column", "study"), [(0, "scenes"), (1, "scenes_full"), (2, "flickr8k")])
def test_the_readme_names_the_attacks_of_each_study(column: int, study: str) -> None:
    rows = rows_of((ROOT / "README.md").read_text(encoding="utf-8"))
    told = {}
    for where in ("on all test images", "on a fixed draw of 200", "in the ensemble alone"):
        cells = rows[f"attacks {where}"]
        told[where] = set(NAME.findall(cells[0] if cells[column] == "the same" else cells[column]))
    found: dict[str, set[str]] = {where: set() for where in told}
    config = yaml.safe_load((ROOT / "config" / f"{study}.yaml").read_text(encoding="utf-8"))
    for name, entry in config["attacks"].items():
        if not entry.get("standalone", True):
            found["in the ensemble alone"].add(name)
        elif "items" in entry:
            assert entry["items"] == 200
            found["on a fixed draw of 200"].add(name)
        else:
            found["on all test images"].add(name)
    assert told == found


def block(language: str, start: str) -> str:
    """The one block that begins like this."""
    [found] = [text for text in blocks(language) if text.startswith(start)]
    return found


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports an example by the file that it is said to be."""

    def imported(file: str) -> ModuleType:
        path = tmp_path / Path(file).name
        path.write_text(block("python", f"# {file}\n"), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, module)  # where dataclasses look
        spec.loader.exec_module(module)
        return module

    return imported


def test_the_example_of_an_attack_is_one(example: Callable[[str], ModuleType]) -> None:
    from mmrobust.attacks.base import Attack

    attack = example("src/mmrobust/attacks/image_first.py").ImageFirst()
    assert isinstance(attack, Attack)
    assert attack.perturbs() == {"image", "text"}


def test_the_example_of_a_defence_is_one(example: Callable[[str], ModuleType]) -> None:
    from mmrobust.training.base import Setting, TrainingBatch
    from mmrobust.training.losses import clean_loss

    images = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    captions = ("a big red ring", "a blue star", "big ring")
    batch = TrainingBatch(images, captions, torch.eye(3, dtype=torch.bool))
    setting = Setting(
        language=Language(synonyms=LEXICON),
        noise=ItemNoise.of(0, items=range(3)),
        generator=torch.Generator(),
    )
    model, made = ToyEncoder().eval(), example("src/mmrobust/training/gaussian.py").Gaussian
    assert made().trained() == "both"
    still, noisy = (
        made(sigma=sigma).losses(model, batch, setting)["contrastive_noisy"] for sigma in (0, 0.2)
    )
    assert still == clean_loss(model, batch)
    assert noisy != still
    assert noisy.requires_grad


def test_the_example_of_an_augmentation_is_one(example: Callable[[str], ModuleType]) -> None:
    from mmrobust.augment.base import Augmenter, Sources

    augmenter: Any = example("src/mmrobust/augment/reordered.py").Reordered()
    assert isinstance(augmenter, Augmenter)
    captions = ["a ring", "a big red ring on a dark ground", "a blue star"]
    generate = augmenter.open(SimpleNamespace(split=SimpleNamespace(captions=captions)))
    rows = np.array([1, 2])
    made = generate(Sources(items=rows, captions=rows, number=0), np.random.default_rng(0))
    assert [sorted(text.split()) for text in made.values] == [
        sorted(text.split()) for text in captions[1:]
    ]
    assert made.values[0] != captions[1]


def test_the_sections_of_models_that_augment_fit() -> None:
    from mmrobust.configured import check_configured
    from mmrobust.study import parse_study

    values = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text(encoding="utf-8"))
    given = yaml.safe_load(block("yaml", "augmentations:"))["augmentations"]
    values["augmentations"] |= given
    study = parse_study(values, where="docs/extending.md")
    check_configured(study, "docs/extending.md")
    assert study.augmentations.items() >= given.items()


def test_the_example_of_a_claim_is_one(tmp_path: Path) -> None:
    from mmrobust.claims.entries import load_claims

    path = tmp_path / "claims.yaml"
    path.write_text(block("yaml", "claims:"), encoding="utf-8")
    [claim] = load_claims(path).values()
    assert claim.statistic.describe() == (
        "difference of i2t recall at 1 (full_gallery, one_image): "
        "tecoa under pgd - gaussian under pgd"
    )


def test_the_example_of_a_text_search_is_one() -> None:
    from mmrobust.attacks.text_search.search import TextSearch
    from mmrobust.config import build

    section = yaml.safe_load(block("yaml", "text:"))["text"]
    search = build(TextSearch, section, where="text")
    assert {part: kinds(getattr(search, part)) for part in section} == {
        part: kinds(value) for part, value in section.items()
    }


def kinds(value: Any) -> list[str]:
    """Kinds of a part or of a list of parts, configured or as written."""
    parts = value if isinstance(value, list | tuple) else [value]
    return [part["kind"] if isinstance(part, dict) else part.kind for part in parts]


@pytest.mark.parametrize("part", ["candidates", "constraints", "importance"])
def test_the_parts_of_a_text_search_are_all_told(part: str) -> None:
    """Every kind and every field stands in its row, and no other name but knowledge and study."""
    from mmrobust.attacks.text_search import candidates, constraints, importance

    union = {
        "candidates": candidates.Candidates,
        "constraints": constraints.Constraint,
        "importance": importance.Importance,
    }[part]
    classes = get_args(get_args(union)[0])
    expected = {cls.kind for cls in classes}
    expected |= {field.name for cls in classes for field in fields(cls)} - {"kind"}
    rows = rows_of(EXTENDING)
    [(_, [row])] = [item for item in rows.items() if item[0].startswith(f"`{part}`")]
    assert set(NAME.findall(row)) - {"scenes", "query"} == expected


def test_the_sections_of_a_pretrained_study_fit() -> None:
    from mmrobust.study import parse_study

    values = yaml.safe_load((ROOT / "config" / "flickr8k.yaml").read_text(encoding="utf-8"))
    study = parse_study(
        values | yaml.safe_load(block("yaml", "device:")), where="docs/extending.md"
    )
    assert study.model["pretrained"]["name"] == "ViT-B-16-quickgelu"


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "config/README.md",
        *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md")),
    ],
)
def test_links_lead_somewhere(name: str) -> None:
    path = ROOT / name
    targets = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    assert not [target for target in targets if not (path.parent / target).exists()]


@pytest.mark.parametrize(
    "path",
    [*ROOT.glob("results/*/claims.csv"), *ROOT.glob("docs/reference_results/*/claims.csv")],
    ids=lambda path: f"{path.parents[1].name}/{path.parent.name}",
)
def test_verdicts_of_record_are_on_the_claims_as_they_are_written(path: Path) -> None:
    """Judged before a note was changed, a verdict would be told with what it no longer says."""
    from mmrobust.claims.entries import load_claims

    claims, study = load_claims(ROOT / "config" / "claims.yaml"), path.parent.name
    rows = pd.read_csv(path, keep_default_na=False)
    assert len(rows)
    for row in rows.to_dict("records"):
        claim = claims[row["id"]]
        told = [claim.note, claim.world_note if study in claim.chosen_in else ""]
        assert row["note"].startswith("; ".join(filter(None, told))), claim.id
        assert (row["statement"], row["source"]) == (claim.statement, claim.source)
        assert (row["statistic"], row["margin"]) == (claim.statistic.describe(), claim.margin)
