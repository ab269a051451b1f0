"""The attacks of a study as a grid: curves laid out, ensembles and threat models checked."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrobust.data import DATASETS
from mmrobust.errors import UserError
from mmrobust.parts import attacks_on, cells_on, ensembles_on, evaluated, limited
from mmrobust.registry import resolve
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
        "standalone": True,
        "items": 10,
    }
    assert study.threat_models["image_2_255_eps_0p5_255"] == {
        "image": {"norm": "linf", "eps": "0.5/255"}
    }
    assert study.attacks["pgd"] == values["attacks"]["pgd"]


def test_curves_over_several_attacks_share_threat_models(values: dict[str, Any]) -> None:
    points = {"eps": ["4/255"]}
    values["curves"] = {"a": {"attack": "pgd", **points}, "b": {"attack": "apgd", **points}}
    study = parsed(values)
    of_points = {study.attacks[f"{name}_eps_4_255"]["threat_model"] for name in ("pgd", "apgd")}
    assert of_points == {"image_2_255_eps_4_255"}
    values["threat_models"]["image_2_255_eps_4_255"] = {"image": {"eps": "3/255"}}
    with pytest.raises(UserError, match=r"curves\.a: its point eps_4_255 needs the names"):
        parsed(values)


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


ORDERED = {"importance": {"kind": "unknown_token"}}
CURVE: dict[str, Any] = {"attack": "pgd", "eps": ["4/255"]}
STRONG: dict[str, Any] = {"threat_model": "white_box_2_255_1word", "members": ["sga"]}


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("curves/c", {**CURVE, "attack": "pdg"}, r"curves\.c: 'pdg'; did you mean 'pgd'"),
        ("curves/c", {"attack": "pgd", "words": [2]}, "varies words, but .* has no text budget"),
        ("curves/c", {"attack": "pgd"}, r"curves\.c: give either `eps` or `words`"),
        ("curves/c", {**CURVE, "words": [2]}, r"curves\.c: give either `eps` or `words`"),
        ("curves/c", {"attack": "pgd", "ep": [1]}, r"curves\.c: 'ep'; did you mean 'eps'"),
        ("curves/c", {**CURVE, "eps": []}, r"curves\.c\.eps: must not be empty"),
        ("curves/c", {**CURVE, "eps": ["2/0"]}, r"curves\.c\.eps"),
        ("curves/c", {**CURVE, "eps": [0, "300/255"]}, r"curves\.c\.eps\.1: 300/255 is above 1"),
        ("curves/c", {**CURVE, "eps": [-1]}, r"curves\.c\.eps\.0: -1 is not"),
        ("curves/c", {**CURVE, "eps": ["2/255", "4/510"]}, r"c\.eps: 2/255 and 4/510 are equal"),
        ("curves/c", {**CURVE, "eps": [0.5, "1/2"]}, r"curves\.c\.eps: 0\.5 and 1/2 are equal"),
        ("curves/c", {"attack": "sga", "words": [2, 2]}, r"curves\.c\.words: .* non-unique"),
        ("curves/c", {**CURVE, "items": 41}, r"curves\.c\.items: 41 is above the 40 images"),
        (
            "attacks/pgd/items",
            41,
            r"attacks\.pgd\.items: 41 is above the 40 images of split 'test'",
        ),
        ("ensembles/strongest/items", 41, r"ensembles\.strongest\.items: 41 is above the 40"),
        ("ensembles/s", {**STRONG, "members": ["sgaa"]}, "did you mean 'sga'"),
        ("ensembles/s", {**STRONG, "members": []}, "must not be empty"),
        ("ensembles/s", {**STRONG, "threat_model": "none"}, "threat model"),
        ("ensembles/pgd", STRONG, "the name is taken"),
        ("ensembles/s", {**STRONG, "threat_model": "image_2_255"}, "'sga' has a larger budget"),
        ("ensembles/s", {**STRONG, "members": ["bert_attack"]}, "has a larger budget"),
        (
            "ensembles/s",
            {"threat_model": "query_2_255", "members": ["pgd"]},
            r"'pgd' knows another thing of the model \(white_box\) .* allows \(query\)",
        ),
        (
            "ensembles/s",
            {"threat_model": "transfer_2_255_1word", "members": ["sga"]},
            r"'sga' knows another .*\(white_box\) .* allows \(transfer from standard\)",
        ),
        ("ensembles/s", {**STRONG, "members": ["apgd"], "items": 20}, "10 items, fewer than"),
        ("ensembles/s", {**STRONG, "members": ["apgd"]}, "10 items, fewer than"),
        (
            "attacks/pgd/defences",
            ["standard", "matt"],
            r"unknown defence in a\.yaml: attacks\.pgd\.defences: 'matt'; did you mean 'mat'",
        ),
        (
            "curves/eps/defences",
            ["tecoaa"],
            r"curves\.eps\.defences: 'tecoaa'; did you mean 'tecoa'",
        ),
        (
            "ensembles/strongest/defences",
            ["no"],
            r"ensembles\.strongest\.defences: 'no' \(known: mat",
        ),
        ("targets/words", ["mat", "tecoa_plus"], r"a\.yaml: targets\.words: 'tecoa_plus'; did you"),
        ("targets/words", [], r"targets\.words: must not be empty"),
        ("targets/words", ["mat", "mat"], r"targets\.words: .* non-unique"),
        (
            "targets/two words",
            ["mat"],
            r"a\.yaml: targets: 'two words' is no name; allowed: lower-case letters",
        ),
        ("attacks/pgd/defences", [], r"attacks\.pgd\.defences: must not be empty"),
        ("attacks/pgd/defences", ["mat", "mat"], r"attacks\.pgd\.defences: .* non-unique"),
        ("attacks/pgd/defences", "mat", r"attacks\.pgd\.defences: must be a list, not 'mat'"),
        ("curves/eps/defences", [], r"curves\.eps\.defences: must not be empty"),
        ("ensembles/strongest/defences", [], r"ensembles\.strongest\.defences: must not be empty"),
        (
            "attacks/pgd/defences",
            ["mat", "standard"],
            r"strongest: is run on tecoa, mat_plus, mat_plus_misaligned_0p5 and its member 'pgd' "
            r"is not \(allowed: `defences` among mat, standard, or a member with "
            r"`standalone: false`\)",
        ),
        (
            "attacks/pgd/standalone",
            False,
            r"pgd\.standalone: false, but no ensemble has it as a mem",
        ),
        ("ensembles/strongest/members", ["sga", "adaptiv"], "'adaptiv'; did you mean 'adaptive'"),
        (
            "attacks/sga/text",
            {"method": "exhaustive", **ORDERED},
            r"sga\.text\.importance: .*exhau",
        ),
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


def test_members_of_an_ensemble_have_its_norm(values: dict[str, Any]) -> None:
    """Whatever the radius: an l2 ball of the same one lies within the other."""
    values["threat_models"]["l2"] = {"image": {"norm": "l2", "eps": 0.001}}
    values["attacks"]["pgd"]["threat_model"] = "l2"
    told = r"strongest\.members: 'pgd' has another norm \(l2; the ensemble's: linf\)"
    with pytest.raises(UserError, match=told):
        parsed(values)
    values["ensembles"]["strongest"]["members"] = ["pgd"]
    values["ensembles"]["strongest"]["threat_model"] = "text_1word"
    del values["attacks"]["adaptive"]
    with pytest.raises(UserError, match="'pgd' has a larger budget"):
        parsed(values)


@pytest.mark.parametrize(
    ("member", "allowed", "fits"),
    [
        ({"eps": "2/255"}, {"eps": "2/255"}, True),
        ({"eps": "1/255"}, {"eps": "2/255"}, True),
        ({"eps": "3/255"}, {"eps": "2/255"}, False),
        ({"words": 1}, {"words": 2}, True),
        ({"words": 3}, {"words": 2}, False),
        ({"characters": 4}, {"characters": 5}, True),
        ({"characters": 6}, {"characters": 5}, False),
        ({}, {"characters": 5}, False),
        ({"characters": 5}, {}, True),
        ({"keeps_truth": True}, {}, True),
        ({}, {"keeps_truth": True}, False),
    ],
)
def test_a_member_of_an_ensemble_has_no_larger_budget(
    values: dict[str, Any], member: dict[str, Any], allowed: dict[str, Any], fits: bool
) -> None:
    """Each limit by itself: all others are the same on both sides."""
    for name, own in (("member", member), ("allowed", allowed)):
        image = {"norm": "linf", "eps": own.get("eps", "2/255")}
        text = {"words": 2, **{key: value for key, value in own.items() if key != "eps"}}
        values["threat_models"][name] = {"image": image, "text": text}
    values["attacks"]["mine"] = {"method": "sga", "threat_model": "member"}
    values["ensembles"]["own"] = {"threat_model": "allowed", "members": ["mine"]}
    if fits:
        assert parsed(values).ensembles["own"]["members"] == ["mine"]
        return
    told = r"own\.members: 'mine' has a larger budget \(member\) than .* \(allowed\)"
    with pytest.raises(UserError, match=told):
        parsed(values)


def test_a_curve_may_go_over_an_attack_without_a_cell_of_its_own(values: dict[str, Any]) -> None:
    values["attacks"]["mi_fgsm"] = {
        **{"method": "mi_fgsm", "threat_model": "image_2_255"},
        "standalone": False,
    }
    values["curves"]["far"] = {"attack": "mi_fgsm", "eps": ["8/255"]}
    study = parsed(values)
    assert study.attacks["mi_fgsm_eps_8_255"]["standalone"] is True
    assert study.attacks["mi_fgsm"]["standalone"] is False


def test_points_of_a_curve_are_run_where_their_attack_is_unless_the_curve_says_else(
    values: dict[str, Any],
) -> None:
    values["attacks"]["apgd"]["defences"] = ["mat"]
    assert parsed(values).attacks["apgd_eps_4_255"]["defences"] == ["mat"]
    values["curves"]["eps"]["defences"] = ["tecoa", "standard"]
    assert parsed(values).attacks["apgd_eps_4_255"]["defences"] == ["tecoa", "standard"]
    assert "defences" not in parsed(values).attacks["word_substitution_words_2"]


def evaluated_on(study: Study, defence: str) -> dict[str, dict[str, Any]]:
    return evaluated(study, cells_on(study, defence))


def test_a_cell_takes_its_attack_or_the_members_of_its_ensemble(values: dict[str, Any]) -> None:
    study = parsed(values)
    assert evaluated(study, ["clean"]) == {"attacks": {}, "ensembles": {}}
    one = evaluated(study, ["clean", "sga"])
    assert one == {"attacks": {"sga": study.attacks["sga"]}, "ensembles": {}}
    worst = evaluated(study, ["strongest"])
    assert list(worst["ensembles"]) == ["strongest"]
    assert set(worst["attacks"]) == set(study.ensembles["strongest"]["members"])


def test_a_model_is_told_what_is_run_on_it_alone(values: dict[str, Any]) -> None:
    whole = evaluated_on(parsed(values), "mat")
    assert list(whole["attacks"]) == list(parsed(values).attacks)
    values["attacks"]["sga"]["defences"] = ["mat", "tecoa"]
    values["ensembles"]["strongest"]["defences"] = ["mat"]
    values["curves"]["words"]["defences"] = ["tecoa"]
    study = parsed(values)
    assert limited(study.attacks, study.ensembles) == {
        "sga": ["mat", "tecoa"],
        "word_substitution_words_2": ["tecoa"],
        "strongest": ["mat"],
    }
    assert attacks_on(study, "mat") == [
        *("pgd", "word_substitution", "sga", "sga_transfer", "bert_attack", "square", "apgd"),
        *("apgd_eps_4_255", "apgd_eps_16_255"),
    ]
    assert set(attacks_on(study, "tecoa")) - set(attacks_on(study, "mat")) == {
        "word_substitution_words_2"
    }
    assert [ensembles_on(study, of) for of in ("mat", "tecoa")] == [["strongest"], []]
    told = {of: evaluated_on(study, of) for of in study.defences}
    # What only an ensemble runs goes where the ensemble is; no entry says where else it is run.
    assert [name for name in told if "adaptive" in told[name]["attacks"]] == ["mat"]
    assert [name for name in told if "sga" in told[name]["attacks"]] == ["tecoa", "mat"]
    assert told["mat"]["attacks"]["sga"] == whole["attacks"]["sga"]
    assert told["mat"]["ensembles"] == whole["ensembles"]


def test_a_member_that_the_ensemble_alone_runs_is_run_where_the_ensemble_is(
    values: dict[str, Any],
) -> None:
    values["attacks"]["adaptive"]["defences"] = ["mat"]
    assert "adaptive" in evaluated_on(parsed(values), "tecoa")["attacks"]


def test_a_curve_over_an_l2_radius_may_exceed_one(values: dict[str, Any]) -> None:
    values["threat_models"]["l2"] = {"image": {"norm": "l2", "eps": 0.5}}
    values["attacks"]["far"] = {"method": "pgd", "threat_model": "l2"}
    values["curves"] = {"c": {"attack": "far", "eps": [2]}}
    assert parsed(values).threat_models["l2_eps_2"]["image"] == {"norm": "l2", "eps": 2}


def test_queries_give_no_gradients_to_rank_words_by(values: dict[str, Any]) -> None:
    values["threat_models"]["query_text"] = {"knowledge": "query", "text": {"words": 1}}
    entry = {"method": "word_substitution", "threat_model": "query_text"}
    values["attacks"]["asked"] = {**entry, "text": {"importance": {"kind": "unknown_token"}}}
    assert parsed(values).attacks["asked"]["text"] == {"importance": {"kind": "unknown_token"}}
    values["attacks"]["asked"] = {**entry, "text": {"importance": {"kind": "gradient"}}}
    told = r"asked\.text\.importance: 'gradient' uses gradients, which knowledge 'query'"
    with pytest.raises(UserError, match=told):
        parsed(values)


def test_text_parts_that_ask_no_language_model_need_none(values: dict[str, Any]) -> None:
    del values["masked_lm"], values["attacks"]["bert_attack"]
    assert parsed(values).masked_lm is None
    values["attacks"]["sga"]["text"] = {"constraints": [{"kind": "similarity", "min_cosine": 0.8}]}
    with pytest.raises(UserError, match=r"attacks\.sga: asks a masked language model"):
        parsed(values)


FLICKR8K = SMOKE.with_name("flickr8k.yaml")


def test_a_dataset_that_does_not_decide_truth_has_no_truthful_budget() -> None:
    values = yaml.safe_load(FLICKR8K.read_text(encoding="utf-8"))
    values["threat_models"]["text_1word"]["text"]["keeps_truth"] = True
    with pytest.raises(UserError, match=r"text_1word\.text\.keeps_truth.*allowed: scenes"):
        parsed(values)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            {"constraints": [{"kind": "antonyms"}, {"kind": "truth"}]},
            r"text\.constraints\.1: dataset 'flickr8k' doesn't decide truth \(allowed: scenes\)",
        ),
        (
            {"candidates": {"kind": "grammar"}},
            r"sga\.text\.candidates: dataset 'flickr8k' has no grammar \(allowed: scenes\)",
        ),
    ],
)
def test_text_parts_ask_only_for_what_the_dataset_has(
    values: dict[str, Any], text: dict[str, Any], told: str
) -> None:
    values["attacks"]["sga"]["text"] = text
    assert parsed(values).attacks["sga"]["text"] == text
    photographs = yaml.safe_load(FLICKR8K.read_text(encoding="utf-8"))
    photographs["attacks"]["sga"]["text"] = text
    with pytest.raises(UserError, match=told):
        parsed(photographs)


def test_items_of_a_split_of_unknown_size_are_left_to_the_evaluation() -> None:
    photographs = yaml.safe_load(FLICKR8K.read_text(encoding="utf-8"))
    photographs["attacks"]["pgd"]["items"] = 10**6
    assert parsed(photographs).attacks["pgd"]["items"] == 10**6
    photographs["dataset"]["splits"] = {"test": 1000}
    with pytest.raises(UserError, match=r"attacks\.pgd\.items: 1000000 is above the 1000 images"):
        parsed(photographs)


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_dataset_says_whether_it_has_a_grammar(name: str) -> None:
    cls: Any = resolve(DATASETS, name, kind="dataset", base=object)
    assert cls.has_grammar is (name == "scenes")
