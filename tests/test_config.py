from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrobust.artifacts import canonical_json, read_json
from mmrobust.errors import UserError
from mmrobust.study import load_study, parse_study

ROOT = Path(__file__).parents[1]
STUDIES = sorted(path for path in (ROOT / "config").glob("*.yaml") if path.stem != "claims")


@pytest.fixture
def values() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text(encoding="utf-8"))


def changed(values: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """A copy with the value at a dotted key set."""
    values = copy.deepcopy(values)
    *path, last = key.split(".")
    section = values
    for part in path:
        section = section[part]
    section[last] = value
    return values


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_is_well_formed_and_can_be_built(path: Path) -> None:
    from mmrobust.config import EvaluationConfig, build
    from mmrobust.data import DATASETS
    from mmrobust.evaluation.evaluator import build_attack
    from mmrobust.models.dual_encoder import ModelConfig
    from mmrobust.models.tokenizer import TokenizerConfig
    from mmrobust.registry import resolve
    from mmrobust.threat import ThreatModel
    from mmrobust.training.loop import TrainingConfig
    from mmrobust.training.run import build_method

    study = load_study(path)
    dataset = {key: value for key, value in study.dataset.items() if key != "name"}
    cls = resolve(DATASETS, study.dataset["name"], kind="dataset", base=object)
    build(cls, dataset, where="dataset")
    build(ModelConfig, study.model, where="model")
    build(TokenizerConfig, study.tokenizer, where="tokenizer")
    build(EvaluationConfig, study.evaluation, where="evaluation")
    for defence in study.defences.values():
        build_method(defence)
        training = {**study.training, **defence.get("training", {})}
        build(TrainingConfig, training, where="training")
    for name, attack in study.attacks.items():
        threat_model = study.threat_models[attack["threat_model"]]
        build_attack(name, attack).check(build(ThreatModel, threat_model, where="threat_models"))


def test_the_schema_is_the_one_that_the_classes_give() -> None:
    from mmrobust.schema import study_schema

    stored = ROOT / "src" / "mmrobust" / "study.schema.json"
    assert stored.read_text(encoding="utf-8") == canonical_json(study_schema()), (
        "run `python -m mmrobust write-schema`"
    )
    assert read_json(stored)["title"] == "mmrobust study"


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("trainning", {}, "unknown key in f: 'trainning'; did you mean 'training'"),
        ("training.epoch", 3, "unknown key in f: training: 'epoch'; did you mean 'epochs'"),
        ("training.epochs", 0, "f: training.epochs: 0 is less than the minimum of 1"),
        ("training.epochs", "many", "f: training.epochs: 'many' is not of type 'integer'"),
        ("training.warmup_fraction", 1.5, "f: training.warmup_fraction: 1.5 is greater"),
        ("defences", {}, "f: defences: must not be empty"),
        ("attacks", {}, "f: attacks: must not be empty"),
        ("seeds", [], "f: seeds: must not be empty"),
        ("seeds", [0, 0], "f: seeds: "),
        ("defences.mat.method", "mad", "unknown value of f: defences.mat.method: 'mad'; did you"),
        ("defences.mat.stpes", 3, "unknown key in f: defences.mat: 'stpes'; did you mean 'steps'"),
        ("defences.mat.eps", "2/0", "f: defences.mat.eps: '2/0' is not a 'distance in 0..1"),
        ("defences.mat.eps", "300/255", "f: defences.mat.eps: '300/255' is not a 'distance"),
        ("defences.mat.eps", -0.1, "f: defences.mat.eps: -0.1 is not a 'distance in 0..1"),
        ("threat_models.image_2_255.image.norm", "l1", "unknown value of f: threat_models"),
        ("defences.mat.initial", "none", "unknown defence in f: defences.mat.initial 'none'"),
        ("defences.standard.initial", "mat", "goes round in a circle"),
        ("attacks.sga.threat_model", "white", "unknown threat model in f: attacks.sga"),
        ("attacks.sga.threat_model", "text_1word", "attack sga of f perturbs the image but its"),
        ("attacks.pgd.threat_model", "white_box_2_255_1word", "doesn't perturb the text but"),
        ("attacks.clean", {"method": "pgd", "threat_model": "x"}, "the name is taken"),
        ("dataset.name", "scene", "did you mean 'scenes'"),
        ("dataset.image_size", 40, "f: dataset.image_size is 40 and model.architecture.vision_cfg"),
        ("evaluation.confidence", 95, "f: evaluation.confidence: 95 is greater than"),
        ("evaluation.ks", [], "f: evaluation.ks: must not be empty"),
        ("evaluation.ks", [1, 1], "f: evaluation.ks: [1, 1] has non-unique elements"),
        ("device", "tpu", "unknown value of f: device: 'tpu'"),
        ("study", "Bad Name", "f: study: 'Bad Name' does not match"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    values: dict[str, Any], key: str, value: object, told: str
) -> None:
    mistaken = changed(values, key, value)
    if key == "defences.standard.initial":
        mistaken = changed(mistaken, "defences.mat.initial", "standard")
    with pytest.raises(UserError) as error:
        parse_study(mistaken, where="f")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["clean", "run"])
def test_names_of_files_are_no_attacks(values: dict[str, Any], name: str) -> None:
    attack = values["attacks"]["sga"]
    with pytest.raises(UserError, match=f"attacks.{name}: the name is taken"):
        parse_study(changed(values, f"attacks.{name}", attack), where="f")


def test_a_missing_section_is_told(values: dict[str, Any]) -> None:
    del values["training"]
    with pytest.raises(UserError, match="f: 'training' is a required property"):
        parse_study(values, where="f")


def test_the_file_carries_the_study_name(values: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(UserError, match="`study` is 'smoke'; it must be the file's name"):
        load_study(path)


@pytest.mark.parametrize(
    ("text", "told"), [("a: [", "not valid YAML"), ("", "None is not of type 'object'")]
)
def test_a_broken_file_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=told):
        load_study(path)


def test_planning_imports_no_torch() -> None:
    code = (
        "import sys, pathlib; from mmrobust.study import load_study; "
        "load_study(pathlib.Path('config/smoke.yaml')); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
