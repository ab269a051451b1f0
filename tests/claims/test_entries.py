from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrobust.claims.entries import load_claims, select_claims
from mmrobust.claims.statistics import Difference, RelativeDrop, Selection, Side, Trend
from mmrobust.errors import UserError

LEDGER = Path(__file__).parents[2] / "config" / "claims.yaml"


@pytest.fixture
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(LEDGER.read_text(encoding="utf-8"))
    return loaded


def test_the_project_s_ledger() -> None:
    claims = load_claims(LEDGER)
    assert list(claims)[:3] == [
        "mat_beats_image_adversarial_training",
        "undefended_collapses",
        "adaptive_is_stronger_than_sga",
    ]
    first, second, third, *_ = claims.values()
    assert isinstance(third.statistic, Difference)
    assert (third.statistic.a.attack, third.statistic.b.attack) == ("sga", "adaptive")
    assert third.statistic.measure.protocol == "own_pair"
    assert "after a first look at test scenes" in third.world_note
    assert isinstance(first.statistic, Difference)
    assert first.statistic.a == Side(defences=("mat",), attack="sga")
    assert first.statistic.b == Side(defences=("tecoa",), attack="sga")
    assert isinstance(second.statistic, RelativeDrop)
    assert second.statistic.clean == Selection(defence="standard", attack="clean")
    assert (first.margin, second.margin) == (0.0, 0.75)
    assert "a transfer of the gain to other text attacks is not shown" in first.note
    for claim in (claims[name] for name in (first.id, second.id, third.id, *COMPARED)):
        assert "\n" not in claim.statement
        studies = {"one_to_many_helps": ("scenes",)} | {
            of.id: ("scenes", "scenes_full") for of in (first, second, third)
        }
        assert claim.chosen_in == studies.get(claim.id, ("scenes_full",))
        assert "docs/findings.md" in claim.world_note


COMPARED = {
    "one_to_many_helps": ("mat_plus under sga - mat under sga"),
    "mat_beats_tecoa_at_worst": ("mat under strongest - tecoa under strongest"),
    "mat_beats_tecoa_both_at_worst": ("mat under strongest - tecoa_both under strongest"),
    "mat_beats_fare_at_worst": ("mat under strongest - fare under strongest"),
    "mat_beats_pmg_aft_at_worst": ("mat under strongest - pmg_aft under strongest"),
    "mat_beats_leaf_at_worst": ("mat under strongest - leaf under strongest"),
    "unimodal_training_fails_jointly": ("tecoa under strongest"),
    "mat_beats_practised_synonyms_at_worst": (
        "mat under strongest - tecoa_synonyms under strongest"
    ),
    "one_to_one_limits_mat": ("mat_human under strongest - mat under strongest"),
    "one_to_many_text_helps_eda": ("mat_eda under strongest - mat under strongest"),
    "one_to_many_text_helps_paraphrase": ("mat_paraphrase under strongest - mat under strongest"),
    "one_to_many_text_helps_caption": ("mat_caption under strongest - mat under strongest"),
    "one_to_many_image_helps_randaugment": (
        "mat_randaugment under strongest - mat under strongest"
    ),
    "one_to_many_image_helps_render": ("mat_render under strongest - mat under strongest"),
    "one_to_many_image_helps_draw": ("mat_draw under strongest - mat under strongest"),
    "alignment_matters": (
        "mat_paraphrase_misaligned_1p0, mat_paraphrase_misaligned_0p5, "
        "mat_paraphrase_misaligned_0p25, mat_paraphrase under sga"
    ),
    "diversity_matters": (
        "mat_caption_distinct_1, mat_caption_distinct_2, mat_caption_distinct_4, "
        "mat_caption under sga"
    ),
    "no_shift_matters": (
        "mat_render_style_shift_1p0, mat_render_style_shift_0p67, "
        "mat_render_style_shift_0p33, mat_render under sga"
    ),
    "misaligned_augmentation_harms": ("mat under sga - mat_paraphrase_misaligned_0p5 under sga"),
    "text_beats_image": (
        "mean of mat_eda, mat_paraphrase, mat_caption under strongest - "
        "mean of mat_randaugment, mat_render, mat_draw under strongest"
    ),
    "cross_modal_beats_eda": ("mat_caption under strongest - mat_eda under strongest"),
    "cross_modal_beats_paraphrase": (
        "mat_caption under strongest - mat_paraphrase under strongest"
    ),
    "many_to_many_helps": ("mat_caption_render under strongest - mat_caption under strongest"),
    "many_to_many_does_not_help": (
        "mat_caption under strongest - mat_caption_render under strongest"
    ),
}
"""What the claims on defences and augmentation compare, by id."""


MARGINS = {"unimodal_training_fails_jointly": 0.5, "many_to_many_does_not_help": -0.02}


def test_claims_on_defences_and_augmentation() -> None:
    """An ensemble is measured under own_pair alone; SGA attacks all that the galleries hold."""
    claims = load_claims(LEDGER)
    for name, compared in COMPARED.items():
        statistic, drop = claims[name].statistic, name == "unimodal_training_fails_jointly"
        protocol = "own_pair" if "strongest" in compared else "full_gallery"
        kind = {True: "relative drop"}.get(drop, "difference" if " - " in compared else "trend")
        recall = f"i2t recall at 1 ({protocol}, one_image)"
        between = " along " if kind == "trend" else ": "
        assert statistic.describe() == f"{kind} of {recall}{between}{compared}"
        assert claims[name].margin == MARGINS.get(name, 0.0)
        ours = name == "mat_beats_practised_synonyms_at_worst"
        assert ("a control of this study" if ours else "arXiv 2405.18770") in claims[name].source


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(margn=1), "unknown key 'margn'; did you mean 'margin'"),
        (lambda c: c.pop("margin"), "lacks margin"),
        (lambda c: c.update(margin="much"), "margin must be a number, not 'much'"),
        (lambda c: c.update(margin=True), "margin must be a number, not True"),
        (lambda c: c.update(statement=" "), "statement must be a text"),
        (lambda c: c.update(source="a paper"), "source: must hold paper, section"),
        (lambda c: c.update(chosen_in="scenes"), "chosen_in must be a list"),
        (lambda c: c.update(world_note=None), "chosen_in names studies but world_note is null"),
        (lambda c: c["statistic"].update(kind="diference"), "did you mean 'difference'"),
        (lambda c: c.update(statistic="difference"), "unknown kind ''"),
        (lambda c: c["statistic"].update(protocol="own"), "unknown protocol 'own'"),
        (lambda c: c["statistic"].update(labels="one_imag"), "did you mean 'one_image'"),
        (lambda c: c["statistic"].update(direction=["i2t"]), "unknown direction"),
        (lambda c: c["statistic"].update(k=0), "k must be a whole number from 1"),
        (lambda c: c["statistic"].update(gallery_images=0), "gallery_images must be a whole"),
        (lambda c: c["statistic"].update(gallery_images=[9]), "gallery_images must be a whole"),
        (lambda c: c["statistic"].update(galery_images=9), "did you mean 'gallery_images'"),
        (lambda c: c["statistic"]["a"].update(defense="mat"), "did you mean 'defence'"),
        (lambda c: c["statistic"]["a"].update(attack=3), "attack must be a text"),
        (lambda c: c["statistic"].pop("b"), "statistic: lacks b"),
        (lambda c: c["statistic"]["a"].update(defence=3), "a: defence must be a text, not 3"),
        (
            lambda c: c["statistic"]["a"].update(defence=[]),
            r"a: defence must be a text or a list of texts, not \[\]",
        ),
        (
            lambda c: c["statistic"]["b"].update(defence=["mat", " "]),
            r"b: defence must be a text or a list of texts, not \['mat', ' '\]",
        ),
        (
            lambda c: c["statistic"]["a"].update(defence=["mat", "fare", "mat"]),
            "a: defence names one twice: mat, fare, mat",
        ),
        (
            lambda c: c.update(
                statistic={
                    **{
                        key: c["statistic"][key] for key in ("protocol", "direction", "labels", "k")
                    },
                    "kind": "relative_drop",
                    "cell": {"defence": ["mat", "fare"], "attack": "sga"},
                }
            ),
            r"cell: defence must be a text, not \['mat', 'fare'\]",
        ),
    ],
)
def test_amiss_entries_are_refused_by_file_and_claim(
    tmp_path: Path,
    document: dict[str, Any],
    change: Callable[[dict[str, Any]], Any],
    said: str,
) -> None:
    change(document["claims"][0])
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match=said) as error:
        load_claims(path)
    assert f"{path}: claim mat_beats_image_adversarial_training" in str(error.value)


@pytest.mark.parametrize("margin", [float("nan"), float("inf")])
def test_a_margin_without_end_is_refused_where_it_stands(
    tmp_path: Path, document: dict[str, Any], margin: float
) -> None:
    document["claims"][0]["margin"] = margin
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match=rf"claims\.yaml: line \d+: \.{margin} is no finite number"):
        load_claims(path)


@pytest.mark.parametrize("size", [None, 100])
def test_a_claim_may_name_a_gallery_size(
    tmp_path: Path, document: dict[str, Any], size: int | None
) -> None:
    document["claims"][0]["statistic"]["gallery_images"] = size
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(document))
    first, second, *_ = load_claims(path).values()
    assert isinstance(first.statistic, Difference)
    assert isinstance(second.statistic, RelativeDrop)
    assert first.statistic.measure.gallery_images == size
    assert second.statistic.measure.gallery_images is None


def test_a_side_may_be_the_mean_over_a_list_of_defences(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    document["claims"][0]["statistic"]["a"]["defence"] = ["mat_eda", "mat_caption"]
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(document))
    statistic = next(iter(load_claims(path).values())).statistic
    assert isinstance(statistic, Difference)
    assert statistic.a == Side(defences=("mat_eda", "mat_caption"), attack="sga")
    assert statistic.selections() == tuple(
        Selection(defence=name, attack="sga") for name in ("mat_eda", "mat_caption", "tecoa")
    )


def test_a_trend_needs_two_defences(tmp_path: Path, document: dict[str, Any]) -> None:
    statistic = document["claims"][0]["statistic"]
    del statistic["a"], statistic["b"]
    statistic |= {"kind": "trend", "along": {"defence": ["mat_eda", "mat"], "attack": "sga"}}
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(document))
    found = next(iter(load_claims(path).values())).statistic
    assert isinstance(found, Trend)
    assert found.along.defences == ("mat_eda", "mat")
    statistic["along"]["defence"] = "mat"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match="along: defence must be a list of at least two"):
        load_claims(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("claims: [", "not valid YAML"),
        ("claims: []", "at least one claim"),
        ("claim: []", "did you mean 'claims'"),
        ("", "must hold claims"),
        ("claims: [3]", "claim number 1: must hold id"),
    ],
)
def test_amiss_files(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as error:
        load_claims(path)
    assert str(path) in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="file is missing"):
        load_claims(tmp_path / "claims.yaml")


def test_a_claim_may_stand_once_only(tmp_path: Path, document: dict[str, Any]) -> None:
    document["claims"][1]["id"] = document["claims"][0]["id"]
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match="mat_beats_image_adversarial_training stands twice"):
        load_claims(path)


def test_studies_select_by_id_in_their_order() -> None:
    claims = load_claims(LEDGER)
    ids = ["undefended_collapses", "mat_beats_image_adversarial_training"]
    assert [claim.id for claim in select_claims(claims, ids, where="x")] == ids
    with pytest.raises(UserError, match=r"claim in c\.yaml.*did you mean 'undefended_collapses'"):
        select_claims(claims, ["undefended_colapses"], where="c.yaml")
