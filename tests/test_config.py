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


TRAINED = {"epochs": 1, "batch_size": 8, "learning_rate": 0.1}


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


def test_what_an_entry_says_of_its_running_is_no_field_of_the_attack() -> None:
    from mmrobust.evaluation.evaluator import build_attack

    fields = {"method": "pgd", "steps": 3}
    running = {"items": 5, "curve": "c", "standalone": True, "defences": ["mat"]}
    entry = {**fields, "threat_model": "image", **running}
    assert build_attack("a", entry) == build_attack("a", fields)


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
        ("training.epochs", -1, "f: training.epochs: -1 is less than the minimum of 0"),
        ("training.epochs", "many", "f: training.epochs: must be a whole number, not 'many'"),
        (
            "training.learning_rate",
            "1e-3",
            "f: training.learning_rate: must be a number, not '1e-3' (YAML takes this for a text: "
            "write it with a point and a sign, as in 1.0e-3)",
        ),
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
        (
            "model",
            {"pretrained": {"name": "ViT-B-32", "weights": "openai"}},
            "f: judge.model: must be another than the pretrained model under test",
        ),
        (
            "defences.standard",
            {"method": "fare"},
            "f: defences.standard: method 'fare' is held to the model that it starts from; wanted",
        ),
        (
            "defences.standard",
            {"method": "tecoa"},
            "f: defences.standard: trains the image tower beside one that stays random; wanted: `i",
        ),
        (
            "defences.standard.towers",
            "text",
            "f: defences.standard: trains the text tower beside one that stays random; wanted: `in",
        ),
        ("attacks.sga.threat_model", "white", "unknown threat model in f: attacks.sga"),
        (
            "attacks.sga.threat_model",
            "text_1word",
            "f: attacks.sga: perturbs the image but threat model 'text_1word' has none for the",
        ),
        (
            "attacks.pgd.threat_model",
            "white_box_2_255_1word",
            "f: attacks.pgd: doesn't perturb the text but threat model 'white_box_2_255_1word' has",
        ),
        ("model", {}, "f: model: give either `architecture` or `pretrained`"),
        ("model.pretrained", {"name": "a", "weights": "b"}, "f: model: give either `architecture`"),
        (
            "model",
            {"architecture": 3},
            "f: model.architecture: must be a mapping of names to values, not 3",
        ),
        ("model.architecture.embed_dim", 0, "f: model.architecture.embed_dim: 0 is less than"),
        ("masked_lm", {}, "f: masked_lm: give either `architecture` with its `training`, or"),
        ("masked_lm", {"training": TRAINED}, "f: masked_lm: give either `architecture` with its"),
        ("masked_lm.training", None, "f: masked_lm: give either `architecture` with its"),
        ("masked_lm.pretrained", {"name": "bert"}, "f: masked_lm: give either `architecture` with"),
        (
            "masked_lm.trainin",
            {},
            "unknown key in f: masked_lm: 'trainin'; did you mean 'training'",
        ),
        ("masked_lm", "bert", "f: masked_lm: must be a mapping of names to values, not 'bert'"),
        ("evaluation.gallery_images", [20, 30], "f: evaluation.gallery_images.1: 30 does not"),
        ("evaluation.gallery_images", [80], "gallery_images.0: 80 does not divide the 40 images"),
        ("attacks.clean", {"method": "pgd", "threat_model": "x"}, "the name is taken"),
        ("dataset.name", "scene", "did you mean 'scenes'"),
        ("dataset.image_size", 40, "f: dataset.image_size is 40 and model.architecture.vision_cfg"),
        ("evaluation.confidence", 95, "f: evaluation.confidence: 95 is greater than"),
        ("evaluation.ks", [], "f: evaluation.ks: must not be empty"),
        ("evaluation.ks", [1, 1], "f: evaluation.ks: [1, 1] has non-unique elements"),
        ("device", "tpu", "unknown value of f: device: 'tpu'"),
        (
            "study",
            "Bad Name",
            "f: study: 'Bad Name' is no name; allowed: lower-case letters, digits",
        ),
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


def test_a_judge_has_other_weights_than_the_model_under_test(values: dict[str, Any]) -> None:
    clip = {"pretrained": {"name": "ViT-B-32", "weights": "openai"}}
    judge = {"seed": 9, "model": {"pretrained": {"name": "ViT-B-32", "weights": "laion2b"}}}
    parse_study({**values, "model": clip, "judge": judge}, where="f")
    with pytest.raises(UserError, match=r"f: judge\.model: must be another"):
        parse_study({**values, "model": clip, "judge": judge | {"model": clip}}, where="f")


TEXT_MISTAKES = [
    ("", "lexicon", "f: attacks.sga.text: must be a mapping of names to values, not 'lexicon'"),
    ("candidates", "lexicon", "candidates: must be a mapping such as {kind: lexicon}"),
    (
        "candidates",
        {},
        "candidates: `kind` is missing (allowed: characters, grammar, lexicon, mask",
    ),
    ("candidates", {"k": 3}, "candidates: `kind` is missing"),
    (
        "candidates",
        {"kind": "lexikon"},
        "unknown value of f: attacks.sga.text.candidates.kind: 'lexikon'; did you mean 'lexicon'",
    ),
    ("candidates", {"kind": ["lexicon"]}, "unknown value of f: attacks.sga.text.candidates.kind:"),
    ("candidates", None, "candidates: must be a mapping"),
    ("candidates", {"kind": "lexicon", "k": 3}, "unknown key in f: attacks.sga.text.candidates:"),
    ("candidates", {"kind": "masked_lm", "k": 0}, "candidates.k: 0 is less than the minimum of 1"),
    (
        "constraints",
        {"kind": "truth"},
        "f: attacks.sga.text.constraints: must be a list, not {'kind': 'truth'}",
    ),
    ("constraints", ["truth"], "constraints.0: must be a mapping such as {kind: stop_words}"),
    ("constraints", [{"max_share": 0.4}], "constraints.0: `kind` is missing (allowed: antonyms,"),
    (
        "constraints",
        [{"kind": "truth"}, {"kind": "similar"}],
        "f: attacks.sga.text.constraints.1.kind: 'similar'; did you mean 'similarity'",
    ),
    ("constraints", [{"kind": "similarity"}], "constraints.0: `min_cosine` is missing"),
    ("constraints", [{"kind": "share_of_words", "max_share": 2}], "0.max_share: 2 is greater than"),
    ("importance", "gradient", "importance: must be a mapping such as {kind: unknown_token}"),
    ("importance", {}, "importance: `kind` is missing (allowed: gradient, unknown_token)"),
    ("importance", {"kind": "gradients"}, "importance.kind: 'gradients'; did you mean 'gradient'"),
    ("method", "bean", "unknown value of f: attacks.sga.text.method: 'bean'; did you mean 'beam'"),
]


@pytest.mark.parametrize(("key", "value", "told"), TEXT_MISTAKES)
def test_a_mistake_in_a_part_of_a_text_search_is_told_in_one_line(
    values: dict[str, Any], key: str, value: object, told: str
) -> None:
    text = {key: value} if key else value
    with pytest.raises(UserError) as error:
        parse_study(changed(values, "attacks.sga.text", text), where="f")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_part_of_a_text_search_may_be_null_where_it_may_be_left_out(
    values: dict[str, Any],
) -> None:
    study = parse_study(changed(values, "attacks.sga.text", {"importance": None}), where="f")
    assert study.attacks["sga"]["text"] == {"importance": None}


def test_models_are_trained_here_or_pretrained(values: dict[str, Any]) -> None:
    bert = {"pretrained": {"name": "bert-base-uncased"}, "architecture": None}
    clip = {"pretrained": {"name": "ViT-B-32", "weights": "openai"}}
    judge = {"seed": 9, "model": values["model"]}
    sections = {"masked_lm": bert, "model": clip, "judge": judge}
    study = parse_study({**values, **sections}, where="f")
    assert (study.masked_lm, study.model) == (bert, clip)


def test_galleries_are_those_of_the_split_that_is_attacked(values: dict[str, Any]) -> None:
    values["evaluation"] |= {"split": "train", "gallery_images": [128]}
    assert parse_study(values, where="f").evaluation["split"] == "train"
    values["evaluation"]["gallery_images"] = [256]
    with pytest.raises(UserError, match="256 does not divide the 128 images of split 'train'"):
        parse_study(values, where="f")
    values["dataset"]["renderings_per_scene"] = 2
    assert parse_study(values, where="f").dataset["renderings_per_scene"] == 2


def test_an_unfit_attack_is_told_before_anything_is_read_or_computed(tmp_path: Path) -> None:
    from mmrobust.evaluation.keys import Folders
    from mmrobust.evaluation.run import evaluate_model

    nothing = tmp_path / "none"
    folders = Folders(data=nothing, model=nothing, cells=nothing, examples=nothing, work=nothing)
    cfg = {
        "threads": 1,
        "asks_masked_lm": [],
        "attacks": {
            "first": {"method": "pgd", "threat_model": "image"},
            "last": {"method": "pgd", "threat_model": "text"},
        },
        "threat_models": {"image": {"image": {"eps": 0.1}}, "text": {"text": {"words": 1}}},
    }
    with pytest.raises(UserError, match=r"attacks\.last: .* perturbs the image but its threat"):
        evaluate_model(cfg, folders)
    cfg["attacks"]["last"] = {"method": "pgd", "threat_model": "image", "stpes": 3}
    with pytest.raises(UserError, match=r"key in attacks\.last: 'stpes'; did you mean 'steps'"):
        evaluate_model(cfg, folders)


def test_no_more_items_are_drawn_than_there_are_images() -> None:
    from mmrobust.evaluation.subject import drawn_items

    assert drawn_items(3, 3) == [0, 1, 2]
    with pytest.raises(UserError, match=r"4 items of a split of 3 images \(allowed: 1\.\.3\)"):
        drawn_items(3, 4)


@pytest.mark.parametrize("name", ["clean", "run"])
def test_names_of_files_are_no_attacks(values: dict[str, Any], name: str) -> None:
    attack = values["attacks"]["sga"]
    with pytest.raises(UserError, match=f"attacks.{name}: the name is taken"):
        parse_study(changed(values, f"attacks.{name}", attack), where="f")


def test_a_missing_section_is_told(values: dict[str, Any]) -> None:
    del values["training"]
    with pytest.raises(UserError, match=r"^f: `training` is missing$"):
        parse_study(values, where="f")


def test_the_file_carries_the_study_name(values: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(UserError, match="`study` is 'smoke'; it must be the file's name"):
        load_study(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [("a: [", "not valid YAML"), ("", "must be a mapping of names to values, not None")],
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
