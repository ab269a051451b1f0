"""What the documents say of code and studies is so."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

ROOT = Path(__file__).parents[1]
EXTENDING = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
NAME = re.compile(r"`([a-z0-9_]+)`")


def rows_of(text: str) -> dict[str, list[str]]:
    """Rows of the tables of a text, by their first column."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {first: rest for first, *rest in rows}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", EXTENDING, flags=re.DOTALL)


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


def test_the_example_of_an_attack_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmrobust.attacks.base import Attack

    [code] = blocks("python")
    path = tmp_path / "image_first.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("image_first", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "image_first", module)  # where dataclasses look
    spec.loader.exec_module(module)
    attack = module.ImageFirst()
    assert isinstance(attack, Attack)
    assert attack.perturbs() == {"image", "text"}


def test_the_example_of_a_text_search_is_one() -> None:
    from mmrobust.attacks.text_search.search import TextSearch
    from mmrobust.config import build

    section = yaml.safe_load(blocks("yaml")[0])["text"]
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
    study = parse_study(values | yaml.safe_load(blocks("yaml")[1]), where="docs/extending.md")
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
