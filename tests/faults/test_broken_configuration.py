"""Broken configuration of every kind: one exact line, from the check and from Snakemake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from snakemake.cli import main
from tests.faults.verbs import run_verb
from tests.forks import in_fork
from tests.trees import differing, files

FILE = "config/smoke.yaml"
Break = Callable[[str], str | bytes]


@pytest.fixture(scope="module")
def clone(fresh_clone) -> Path:
    return fresh_clone("configuration")


def instead(old: str, new: str) -> Break:
    """Replaces a piece of the smoke study, which holds it once or more, at its first place."""

    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


PGD = "threat_model: image_2_255, steps: 2"

BROKEN: dict[str, tuple[Break, str]] = {
    "unknown key": (
        instead("evaluation:", "evaluatoin:"),
        f"unknown key in {FILE}: 'evaluatoin'; did you mean 'evaluation'? (known: ...",
    ),
    "wrong type": (
        instead("threads: 1", "threads: many"),
        f"{FILE}: threads: must be a whole number, not 'many'",
    ),
    "impossible value": (
        instead("confidence: 0.95", "confidence: 95"),
        f"{FILE}: evaluation.confidence: 95 is greater than or equal to the maximum of 1",
    ),
    "impossible choice": (
        instead("device: cpu", "device: tpu"),
        f"unknown value of {FILE}: device: 'tpu'; did you mean 'cpu'? (known: cpu, cuda)",
    ),
    "no number": (
        instead("learning_rate: 0.001", "learning_rate: .nan"),
        f"{FILE}: line 32: .nan is no finite number",
    ),
    "empty grid": (instead("seeds: [0]", "seeds: []"), f"{FILE}: seeds: must not be empty"),
    "duplicate key": (
        instead("seeds: [0]", "seeds: [0]\nseeds: [1]"),
        f"{FILE}: line 6: key 'seeds' stands twice",
    ),
    "a key that is no text": (
        instead("device: cpu", "device: cpu\non: 3"),
        f"{FILE}: line 9: key 'on' is no text (in quotes it is one)",
    ),
    "contradiction of sections": (
        instead("image_size: 32\n\ntok", "image_size: 64\n\ntok"),
        f"{FILE}: dataset.image_size is 64 and model.architecture.vision_cfg.image_size is 32; "
        "they must be given and equal",
    ),
    "galleries that don't divide": (
        instead("gallery_images: [20]", "gallery_images: [30]"),
        f"{FILE}: evaluation.gallery_images.0: 30 does not divide the 40 images of split 'test'",
    ),
    "unknown attack": (
        instead("method: apgd,", "method: apdg,"),
        f"unknown value of {FILE}: attacks.apgd.method: 'apdg'; did you mean 'apgd'? (known: ...",
    ),
    "unknown defence": (
        instead("initial: standard", "initial: standart"),
        f"unknown defence in {FILE}: defences.tecoa.initial 'standart'; did you mean 'standard'? "
        "(known: ...",
    ),
    "unknown threat model": (
        instead(PGD, "threat_model: image_2_256, steps: 2"),
        f"unknown threat model in {FILE}: attacks.pgd.threat_model 'image_2_256'; did you mean "
        "'image_2_255'? (known: ...",
    ),
    "unknown claim": (
        instead("undefended_collapses]", "undefended_colapses]"),
        f"unknown claim in {FILE}: claims: 'undefended_colapses'; did you mean "
        "'undefended_collapses'? (known: ...",
    ),
    "an attack unfit for its threat model": (
        instead(PGD, "threat_model: text_1word, steps: 2"),
        f"{FILE}: attacks.pgd: perturbs the image but threat model 'text_1word' has none for the "
        "image",
    ),
    "circular start": (
        instead("{method: standard}", "{method: standard, initial: mat}"),
        f"{FILE}: defences.standard.initial: goes round in a circle (standard -> mat -> standard)",
    ),
    "a name unlike the file's": (
        instead("study: smoke", "study: smoky"),
        f"{FILE}: `study` is 'smoky'; it must be the file's name",
    ),
}
PLANNED: dict[str, tuple[Break, str]] = {
    "no checkpoint": (
        instead("    source: standard", "    source: models/none"),
        f"{FILE}: threat_models.transfer_2_255_1word.source: models/none holds no checkpoint "
        "(model.safetensors, model.json)",
    ),
    "a target with a rule's name": (
        instead("claims: [", "targets: {report: [mat]}\nclaims: ["),
        "study 'smoke': targets.report: the name is taken by a rule (taken: all, augment_data, ...",
    ),
}
"""What is well-formed, and broken by what lies beside it: the check doesn't look there."""
UNREADABLE: dict[str, tuple[Break | None, str]] = {
    "not YAML": (
        instead("seeds: [0]", "seeds: [0"),
        f"{FILE}: not valid YAML (while parsing a flow sequence in ...",
    ),
    "a tab": (
        instead("  name: scenes", "\tname: scenes"),
        f"{FILE}: not valid YAML (while scanning for the next token found character '\\t' ...",
    ),
    "another encoding": (
        lambda text: text.replace("Smoke test", "Caf\xe9").encode("latin-1"),
        f"{FILE}: not valid YAML ('utf-8' codec can't decode byte 0xe9 in position 170: ...",
    ),
    "an empty file": (
        lambda text: "",
        f"{FILE}: must be a mapping of names to values, not None",
    ),
    "a missing file": (None, f"{FILE}: file is missing"),
}
"""What Snakemake refuses before it looks at any of ours, in words of its own or by a traceback."""


@pytest.fixture
def written(clone: Path) -> Callable[[Break | None], dict[str, bytes]]:
    """Breaks the smoke study of the clone; what lies in the clone then."""
    good = (clone / FILE).read_text()

    def write(change: Break | None) -> dict[str, bytes]:
        if change is None:
            (clone / FILE).unlink()
        else:
            content = change(good)
            (clone / FILE).write_bytes(content if isinstance(content, bytes) else content.encode())
        return files(clone, but=".git")

    yield write
    (clone / FILE).write_text(good)


def matches(line: str, expected: str) -> bool:
    return line.startswith(expected[:-3]) if expected.endswith("...") else line == expected


@pytest.mark.parametrize("kind", BROKEN | UNREADABLE)
def test_the_check_tells_in_one_line(clone, written, kind):
    change, expected = (BROKEN | UNREADABLE)[kind]
    before = written(change)
    ended = run_verb(("check-config", FILE), clone)
    assert matches(ended.line, expected), ended.line
    assert ended.told == f"mmrobust: error: {ended.line}\n"
    assert differing(before, files(clone, but=".git")) == []


@pytest.mark.parametrize("kind", BROKEN | PLANNED)
def test_snakemake_tells_in_the_same_line_and_plans_nothing(clone, written, kind):
    change, expected = (BROKEN | PLANNED)[kind]
    written(change)
    ended = in_fork(lambda: main(["--cores", "1", "--configfile", FILE]), clone)
    assert ended.status != 0
    assert "Traceback" not in ended.told
    assert sum(matches(line, expected) for line in ended.told.splitlines()) == 1, ended.told
    assert not (clone / "data" / "processed").exists()
    assert not (clone / "logs").exists()
