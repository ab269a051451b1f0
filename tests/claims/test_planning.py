"""Claims are held against the cells of a study when it is planned."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrobust.claims import statistics
from mmrobust.claims.planning import check_claims
from mmrobust.errors import UserError
from mmrobust.evaluation import cells, retrieval
from mmrobust.study import Study, load_study, parse_study

CONFIG = Path(__file__).parents[2] / "config"
STUDIES = sorted(path for path in CONFIG.glob("*.yaml") if path.stem != "claims")
SMOKE = yaml.safe_load((CONFIG / "smoke.yaml").read_text(encoding="utf-8"))


def smoke(**sections: Any) -> Study:
    return parse_study({**copy.deepcopy(SMOKE), "claims": ["mine"], **sections}, where="s.yaml")


def written(path: Path, **statistic: Any) -> Path:
    """A ledger of one claim."""
    measure = {"protocol": "own_pair", "direction": "i2t", "labels": "one_image", "k": 1}
    claim = {
        **{"id": "mine", "statement": "It holds.", "source": {"paper": "one", "section": "two"}},
        "statistic": {"kind": "relative_drop", **measure, **statistic},
        **{"margin": 0.0, "note": None, "world_note": None, "chosen_in": []},
    }
    path.write_text(yaml.safe_dump({"claims": [claim]}), encoding="utf-8")
    return path


def test_the_words_for_a_recall_are_those_of_the_evaluation() -> None:
    assert statistics.PROTOCOLS == retrieval.PROTOCOLS
    assert statistics.DIRECTIONS == retrieval.DIRECTIONS
    assert statistics.LABELS == retrieval.LABELS
    assert statistics.CLEAN == cells.CLEAN


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_studies_have_all_cells_of_their_claims(path: Path) -> None:
    study = load_study(path)
    assert study.claims
    assert check_claims(study, CONFIG / "claims.yaml", path.name) == []


def test_a_study_without_claims_needs_no_ledger(tmp_path: Path) -> None:
    assert check_claims(smoke(claims=[]), tmp_path / "none.yaml", "s.yaml") == []


def test_an_entry_that_is_amiss_is_refused_whoever_names_it(tmp_path: Path) -> None:
    path = written(tmp_path / "claims.yaml", cell={"defence": "mat", "attack": "pgd"})
    document = yaml.safe_load(path.read_text())
    document["claims"].append({"id": "another", "margin": 1})
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match=r"claims\.yaml: claim another: lacks statement"):
        check_claims(smoke(), path, "s.yaml")


def test_an_unknown_claim_is_told_with_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path / "claims.yaml", cell={"defence": "mat", "attack": "pgd"})
    with pytest.raises(UserError, match=r"claim in s\.yaml: claims: 'min'; did you mean 'mine'"):
        check_claims(smoke(claims=["min"]), path, "s.yaml")


def test_cells_that_a_study_lacks_are_told(tmp_path: Path) -> None:
    path = written(
        tmp_path / "claims.yaml",
        kind="difference",
        a={"defence": ["mat", "mixd_plus"], "attack": "sga"},
        b={"defence": "tecoa", "attack": "sgaa"},
    )
    assert check_claims(smoke(), path, "s.yaml") == [
        "s.yaml: claims: 'mine' will be missing: the study has no cell mixd_plus/sga, tecoa/sgaa"
    ]


def test_an_attack_has_cells_of_the_defences_that_it_is_run_on(tmp_path: Path) -> None:
    values = copy.deepcopy(SMOKE["attacks"])
    values["square"]["defences"] = ["standard"]
    values["adaptive"]["standalone"] = False
    study = smoke(attacks=values)
    path = tmp_path / "claims.yaml"
    for defence, attack, told in (
        ("standard", "square", []),
        ("mat", "square", ["mat/square"]),
        ("mat", "adaptive", ["mat/adaptive"]),
        ("mat", "apgd_eps_4_255", []),
        ("mat", "strongest", []),
        ("mat_plus_misaligned_0p5", "pgd", []),
    ):
        written(path, cell={"defence": defence, "attack": attack})
        lines = check_claims(study, path, "s.yaml")
        assert [line.rsplit(maxsplit=1)[1] for line in lines] == told, (defence, attack)


def test_what_is_attacked_in_part_is_claimed_under_own_pair_alone(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    for attack in ("strongest", "apgd_eps_4_255", "pgd"):
        written(path, cell={"defence": "mat", "attack": attack})
        assert check_claims(smoke(), path, "s.yaml") == []
    written(path, cell={"defence": "mat", "attack": "pgd"}, protocol="full_gallery")
    assert check_claims(smoke(), path, "s.yaml") == []
    for attack in ("strongest", "apgd_eps_4_255"):
        written(path, cell={"defence": "mat", "attack": attack}, protocol="full_gallery")
        told = f"^s.yaml: claims: 'mine' is judged under full_gallery, but .*{attack}.* own_pair"
        with pytest.raises(UserError, match=told):
            check_claims(smoke(), path, "s.yaml")
    values = copy.deepcopy(SMOKE["attacks"])
    values["apgd"]["items"] = 40
    written(path, cell={"defence": "mat", "attack": "apgd"}, protocol="full_gallery")
    assert check_claims(smoke(attacks=values), path, "s.yaml") == [], "all images of the split"


def test_a_worst_case_of_one_direction_bears_no_claim_on_the_other(tmp_path: Path) -> None:
    ensembles = copy.deepcopy(SMOKE["ensembles"])
    ensembles["strongest"]["direction"] = "i2t"
    path = tmp_path / "claims.yaml"
    written(path, cell={"defence": "mat", "attack": "strongest"})
    assert check_claims(smoke(ensembles=ensembles), path, "s.yaml") == []
    written(path, cell={"defence": "mat", "attack": "strongest"}, direction="t2i")
    assert check_claims(smoke(), path, "s.yaml") == []
    told = "'mine' is judged on t2i queries, but ensemble 'strongest' is the worst case of i2t"
    with pytest.raises(UserError, match=told):
        check_claims(smoke(ensembles=ensembles), path, "s.yaml")


def test_a_worst_case_is_one_up_to_the_largest_k(tmp_path: Path) -> None:
    deepest = max(SMOKE["evaluation"]["ks"])
    path = tmp_path / "claims.yaml"
    written(path, cell={"defence": "mat", "attack": "strongest"}, k=deepest)
    assert check_claims(smoke(), path, "s.yaml") == []
    written(path, cell={"defence": "mat", "attack": "strongest"}, k=deepest + 1)
    told = rf"at k = {deepest + 1}, but ensemble 'strongest' .*evaluation\.ks, {deepest}$"
    with pytest.raises(UserError, match=told):
        check_claims(smoke(), path, "s.yaml")
    written(path, cell={"defence": "mat", "attack": "pgd"}, k=deepest + 1)
    assert check_claims(smoke(), path, "s.yaml") == []


def test_a_gallery_size_is_one_of_the_study_s(tmp_path: Path) -> None:
    cell = {"defence": "mat", "attack": "pgd"}
    assert SMOKE["evaluation"]["gallery_images"] == [20]
    path = written(tmp_path / "claims.yaml", cell=cell, gallery_images=20)
    assert check_claims(smoke(), path, "s.yaml") == []
    written(path, cell=cell, gallery_images=40)
    told = r"galleries of 40 images, which evaluation\.gallery_images lacks \(allowed: 20\)"
    with pytest.raises(UserError, match=told):
        check_claims(smoke(), path, "s.yaml")
