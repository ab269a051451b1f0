"""The attacks of a study as a grid: curves laid out, ensembles and threat models checked."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrobust.errors import UserError
from mmrobust.study import Study, parse_study

SMOKE = Path(__file__).parents[1] / "config/smoke.yaml"


@pytest.fixture
def values() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(SMOKE.read_text(encoding="utf-8"))
    return copy.deepcopy(read)


def parsed(values: dict[str, Any]) -> Study:
    return parse_study(values, where="a.yaml")


def test_a_curve_is_laid_out_as_attacks_with_budgets_of_their_own(values: dict[str, Any]) -> None:
    values["curves"] = {"far": {"attack": "pgd", "eps": ["0.5/255", "16/255"], "items": 10}}
    study = parsed(values)
    assert study.attacks["pgd_eps_16_255"] == {
        **values["attacks"]["pgd"],
        "threat_model": "image_2_255_eps_16_255",
        "curve": "far",
        "items": 10,
    }
    assert study.threat_models["image_2_255_eps_0p5_255"] == {
        "image": {"norm": "linf", "eps": "0.5/255"}
    }
    assert study.attacks["pgd"] == values["attacks"]["pgd"]


def test_a_curve_over_words_keeps_the_rest_of_its_budget(values: dict[str, Any]) -> None:
    values["curves"] = {"w": {"attack": "sga", "words": [0, 3]}}
    threat_model = parsed(values).threat_models["white_box_2_255_1word_words_3"]
    assert threat_model["text"] == {"words": 3, "keeps_truth": True}
    assert threat_model["image"] == {"norm": "linf", "eps": "2/255"}


def change(values: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split("/")
    for key in parents:
        values = values.setdefault(key, {})
    values[last] = value


CURVE: dict[str, Any] = {"attack": "pgd", "eps": ["4/255"]}
STRONG: dict[str, Any] = {"threat_model": "white_box_2_255_1word", "members": ["sga"]}


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("curves/c", {**CURVE, "attack": "pdg"}, r"curves\.c: 'pdg'; did you mean 'pgd'"),
        ("curves/c", {"attack": "pgd", "words": [2]}, "varies words, but .* has no text budget"),
        ("curves/c", {"attack": "pgd"}, r"curves\.c"),
        ("curves/c", {**CURVE, "words": [2]}, r"curves\.c"),
        ("curves/c", {**CURVE, "eps": []}, r"curves\.c\.eps: must not be empty"),
        ("curves/c", {**CURVE, "eps": ["2/0"]}, r"curves\.c\.eps"),
        ("curves/c", {**CURVE, "eps": ["300/255"]}, "above 1"),
        ("ensembles/s", {**STRONG, "members": ["sgaa"]}, "did you mean 'sga'"),
        ("ensembles/s", {**STRONG, "members": []}, "must not be empty"),
        ("ensembles/s", {**STRONG, "threat_model": "none"}, "threat model"),
        ("ensembles/pgd", STRONG, "the name is taken"),
        ("ensembles/s", {**STRONG, "threat_model": "image_2_255"}, "'sga' has a larger budget"),
        ("ensembles/s", {**STRONG, "members": ["bert_attack"]}, "has a larger budget"),
        ("ensembles/s", {**STRONG, "members": ["apgd"], "items": 20}, "10 items, fewer than"),
        ("ensembles/s", {**STRONG, "members": ["apgd"]}, "10 items, fewer than"),
        ("attacks/pgd/standalone", False, "no ensemble has it as a member"),
        ("attacks/pgd/threat_model", "query_2_255", "uses gradients"),
        ("attacks/pgd/threat_model", "image_2_25", "did you mean 'image_2_255'"),
        ("attacks/clean", {"method": "pgd", "threat_model": "image_2_255"}, "the name is taken"),
        ("threat_models/image_2_255/image/eps", 2, r"image_2_255\.image\.eps: 2 is above 1"),
        ("threat_models/image_2_255/image/eps", -0.1, r"image_2_255\.image\.eps"),
        ("threat_models/image_2_255/source", "standard", "has no use for a `source`"),
        ("threat_models/transfer_2_255_1word/source", "standrd", "did you mean 'standard'"),
        ("threat_models/transfer_2_255_1word/source", None, "needs a `source`"),
        ("threat_models/text_1word/text/words", -1, r"text_1word\.text\.words"),
        ("masked_lm", None, "needs a section `masked_lm`"),
    ],
)
def test_what_can_not_be_meant_is_told_in_one_line(
    values: dict[str, Any], path: str, value: object, told: str
) -> None:
    if path == "attacks/pgd/standalone":
        values["ensembles"]["strongest"]["members"].remove("pgd")
    change(values, path, value)
    if path == "masked_lm":
        del values["masked_lm"]
    with pytest.raises(UserError, match=told) as raised:
        parsed(values)
    assert "\n" not in str(raised.value)
    assert str(raised.value).count("a.yaml") >= 1


def test_an_l2_radius_may_exceed_one(values: dict[str, Any]) -> None:
    values["threat_models"]["image_2_255"]["image"] = {"norm": "l2", "eps": 1.5}
    del values["ensembles"], values["attacks"]["adaptive"], values["curves"]
    assert parsed(values).threat_models["image_2_255"]["image"]["eps"] == 1.5


def test_a_source_may_be_a_folder(values: dict[str, Any]) -> None:
    values["threat_models"]["transfer_2_255_1word"]["source"] = "models/another"
    assert parsed(values).threat_models["transfer_2_255_1word"]["source"] == "models/another"


def test_text_parts_that_ask_no_language_model_need_none(values: dict[str, Any]) -> None:
    del values["masked_lm"], values["attacks"]["bert_attack"]
    assert parsed(values).masked_lm is None
    values["attacks"]["sga"]["text"] = {"constraints": [{"kind": "similarity", "min_cosine": 0.8}]}
    with pytest.raises(UserError, match=r"attacks\.sga: asks a masked language model"):
        parsed(values)


def test_a_dataset_that_does_not_decide_truth_has_no_truthful_budget() -> None:
    flickr8k = SMOKE.with_name("flickr8k.yaml")
    values = yaml.safe_load(flickr8k.read_text(encoding="utf-8"))
    values["threat_models"]["text_1word"]["text"]["keeps_truth"] = True
    with pytest.raises(UserError, match=r"text_1word\.text\.keeps_truth.*allowed: scenes"):
        parsed(values)
