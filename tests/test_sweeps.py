"""Sweeps of a study: settings of augmentations laid out as augmented sets and defences."""

from __future__ import annotations

import copy
import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrobust.errors import UserError
from mmrobust.study import Study, parse_study
from mmrobust.sweep_table import COLUMNS, Point, read_points, tabulate
from mmrobust.sweeps import points

SMOKE = Path(__file__).parents[1] / "config/smoke.yaml"
FIELD: dict[str, Any] = {
    "defence": "mat_plus",
    "augmentation": "paraphrases",
    "field": "misaligned",
    "values": [0, 0.25],
}
NUMBER: dict[str, Any] = {"defence": "mat_plus", "augmentation": "paraphrases", "n": [1, 2]}


@pytest.fixture
def values() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(SMOKE.read_text(encoding="utf-8"))
    return copy.deepcopy(read) | {"sweeps": {}}


def parsed(values: dict[str, Any], **swept: dict[str, Any]) -> Study:
    return parse_study(values | {"sweeps": swept}, where="a.yaml")


def new(study: Study, values: dict[str, Any], section: str) -> dict[str, Any]:
    """Entries of a section that nobody wrote."""
    laid_out = getattr(study, section)
    assert {name: laid_out[name] for name in values[section]} == values[section]
    return {name: entry for name, entry in laid_out.items() if name not in values[section]}


def test_a_field_is_laid_out_as_sets_and_defences_that_learn_from_them(
    values: dict[str, Any],
) -> None:
    study = parsed(values, far=FIELD | {"values": [0.25, 1]})
    entry, base = values["augmentations"]["paraphrases"], values["defences"]["mat_plus"]
    assert new(study, values, "augmentations") == {
        "paraphrases_misaligned_0p25": {**entry, "misaligned": 0.25},
        "paraphrases_misaligned_1": {**entry, "misaligned": 1},
    }
    made = new(study, values, "defences")
    assert made == {
        f"mat_plus_misaligned_{name}": {
            **base,
            "augmentations": {f"paraphrases_misaligned_{name}": 2, "renderings": 1},
        }
        for name in ("0p25", "1")
    }
    sets = [list(entry["augmentations"]) for entry in made.values()]
    assert sets[0] == ["paraphrases_misaligned_0p25", "renderings"], "in the base's order"
    assert study.sweeps == {"far": FIELD | {"values": [0.25, 1]}}


def test_a_number_is_laid_out_as_defences_that_learn_from_as_many(values: dict[str, Any]) -> None:
    study = parsed(values, number=NUMBER)
    learned = {"paraphrases": 1, "renderings": 1}
    assert new(study, values, "augmentations") == {}
    assert new(study, values, "defences") == {
        "mat_plus_n_1": {**values["defences"]["mat_plus"], "augmentations": learned}
    }


@pytest.mark.parametrize(
    ("written", "field", "swept"),
    [
        ({"misaligned": 0.5}, "misaligned", [0.5, 0]),
        ({"misaligned": 0}, "misaligned", [0.0, 0.5]),
        ({}, "misaligned", [0, 0.5]),
        ({}, "rare_word_rate", [None, 0.5]),
        ({"seed": 3}, "seed", [3, 4]),
    ],
    ids=["written", "another spelling", "default", "default of none", "of no class"],
)
def test_a_value_that_the_base_has_is_the_base(
    values: dict[str, Any], written: dict[str, Any], field: str, swept: list[Any]
) -> None:
    values["augmentations"]["paraphrases"] |= written
    study = parsed(values, far=FIELD | {"field": field, "values": swept})
    assert len(new(study, values, "augmentations")) == 1
    assert len(new(study, values, "defences")) == 1
    first, second = points(study)
    assert (first.defence, first.augmentation) == ("mat_plus", "paraphrases")
    assert second.defence in new(study, values, "defences")
    assert second.augmentation in new(study, values, "augmentations")


def test_points_stand_in_the_order_that_was_written(values: dict[str, Any]) -> None:
    values["defences"]["mat_bare"] = {
        key: value
        for key, value in values["defences"]["mat_plus"].items()
        if key != "augmentations"
    }
    swept = {"far": FIELD | {"values": [0.5, 0]}, "number": NUMBER}
    same: dict[str, Any] = {"base": "mat_plus", "swept": "paraphrases", "without": "mat_bare"}
    far: dict[str, Any] = {"sweep": "far", "field": "misaligned", "n": 2, **same}
    number: dict[str, Any] = {
        "sweep": "number",
        "field": "n",
        "augmentation": "paraphrases",
        **same,
    }
    half: dict[str, Any] = {
        "defence": "mat_plus_misaligned_0p5",
        "augmentation": "paraphrases_misaligned_0p5",
    }
    assert points(parsed(values, **swept)) == [
        Point(**far, **half, value="0.5"),
        Point(**far, value="0", defence="mat_plus", augmentation="paraphrases"),
        Point(**number, value="1", defence="mat_plus_n_1", n=1),
        Point(**number, value="2", defence="mat_plus", n=2),
    ]
    values["defences"]["mat_bare"]["words"] = 3
    assert {point.without for point in points(parsed(values, **swept))} == {""}


def test_sweeps_over_several_defences_share_the_sets_of_their_points(
    values: dict[str, Any],
) -> None:
    values["defences"]["other"] = values["defences"]["mat_plus"] | {"words": 2}
    study = parsed(values, a=FIELD, b=FIELD | {"defence": "other"}, c=FIELD)
    assert list(new(study, values, "augmentations")) == ["paraphrases_misaligned_0p25"]
    assert list(new(study, values, "defences")) == [
        "mat_plus_misaligned_0p25",
        "other_misaligned_0p25",
    ]
    assert [point.defence for point in points(study)] == [
        *("mat_plus", "mat_plus_misaligned_0p25"),
        *("other", "other_misaligned_0p25"),
        *("mat_plus", "mat_plus_misaligned_0p25"),
    ]


def test_a_defence_that_others_start_from_may_be_swept(values: dict[str, Any]) -> None:
    values["defences"]["tuned"] = {"method": "tecoa", "initial": "mat_plus"}
    study = parsed(values, far=FIELD)
    assert study.defences["tuned"]["initial"] == "mat_plus"


@pytest.mark.parametrize(
    ("swept", "told"),
    [
        (FIELD | {"defence": "mat_pls"}, r"defence in a\.yaml: sweeps\.s: .* mean 'mat_plus'"),
        (
            FIELD | {"augmentation": "paraphrase"},
            r"augmentation in a\.yaml: sweeps\.s: 'paraphrase'; did you mean 'paraphrases'",
        ),
        (
            FIELD | {"defence": "mat"},
            r"sweeps\.s: defence 'mat' doesn't learn from augmentation 'paraphrases' \(.*none\)",
        ),
        (
            FIELD | {"field": "misalined"},
            r"augmentation 'paraphrases' in a\.yaml: sweeps\.s\.field: .* mean 'misaligned'",
        ),
        (FIELD | {"field": "method"}, "unknown field of augmentation"),
        (
            FIELD | {"field": "seed"},
            r"sweeps\.s\.field: 'seed' has no default: write it in augmentations\.paraphrases",
        ),
        (FIELD | {"values": [0, 0.0]}, r"sweeps\.s\.values: "),
        (FIELD | {"values": ["1/2", 0.5]}, r"sweeps\.s\.values: 1/2 and 0\.5 are equal"),
        (
            FIELD | {"values": [0, 1.5]},
            r"sweeps\.s\.values\.1: misaligned: 1\.5 is greater than the maximum of 1",
        ),
        (
            FIELD | {"values": [False]},
            r"sweeps\.s\.values\.0: misaligned: must be a number, not False",
        ),
        (
            FIELD | {"values": [1.0e-5]},
            r"values\.0: makes the name 'mat_plus_misaligned_1e-05' \(allowed: ",
        ),
        (FIELD | {"values": []}, r"sweeps\.s\.values: must not be empty"),
        (FIELD | {"n": [1]}, r"sweeps\.s: give either `field` with its `values`, or `n`"),
        (FIELD | {"field": "n"}, r"sweeps\.s: give either `field` with its `values`, or `n`"),
        (NUMBER | {"field": "misaligned"}, r"sweeps\.s: give either `field` with its"),
        (NUMBER | {"n": [0]}, r"sweeps\.s\.n\.0: 0 is less than"),
        (NUMBER | {"n": [1, 3]}, r"mat_plus_n_3\.augmentations\.paraphrases: 3 is above the 2"),
        (FIELD | {"valeus": [1]}, r"sweeps\.s: 'valeus'; did you mean 'values'"),
    ],
)
def test_a_sweep_that_cannot_be_is_one_clear_line(
    values: dict[str, Any], swept: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        parsed(values, s=swept)


@pytest.mark.parametrize("taken", ["mat_plus_misaligned_0", "mat_plus_misaligned_0p25"])
def test_the_name_of_a_point_is_nobody_elses(values: dict[str, Any], taken: str) -> None:
    values["defences"][taken] = values["defences"]["mat"]
    with pytest.raises(UserError, match=f"sweeps.far: .* needs the name '{taken}', which is taken"):
        parsed(values, far=FIELD)


def test_the_name_of_a_set_is_no_other_sets(values: dict[str, Any]) -> None:
    name, entry = "paraphrases_misaligned_0p25", values["augmentations"]["paraphrases"]
    values["augmentations"][name] = {**entry, "misaligned": 0.25}
    assert list(new(parsed(values, far=FIELD), values, "augmentations")) == []
    values["defences"]["mat_plus"]["augmentations"][name] = 1
    with pytest.raises(UserError, match=f"needs the name '{name}', which is taken"):
        parsed(values, far=FIELD)
    del values["defences"]["mat_plus"]["augmentations"][name]
    values["augmentations"][name] = {**entry, "misaligned": 0.5}
    with pytest.raises(UserError, match=f"needs the name '{name}', which is taken"):
        parsed(values, far=FIELD)


def test_two_sweeps_do_not_give_one_name_to_two_things(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"sweeps\.b: .* 'mat_plus_n_1', which is taken"):
        parsed(values, a=NUMBER, b={**NUMBER, "augmentation": "renderings", "n": [1]})


def test_the_table_is_read_as_it_was_written(values: dict[str, Any], tmp_path: Path) -> None:
    found = points(parsed(values, far=FIELD, number=NUMBER))
    path = tmp_path / "sweeps.csv"
    tabulate({"points": [asdict(point) for point in found]}, out=path)
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert [row["value"] for row in rows] == ["0", "0.25", "1", "2"]
    assert list(rows[0]) == COLUMNS
    assert read_points(path) == found
    tabulate({"points": []}, out=path)
    assert path.read_text(encoding="utf-8") == ",".join(COLUMNS) + "\n"
    assert read_points(path) == read_points(tmp_path / "none.csv") == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("defence", "defense", r"sweeps\.csv: column missing: defence"),
        (",2,", ",two,", r"sweeps\.csv: not a table of sweeps"),
    ],
)
def test_a_broken_table_is_one_clear_line(
    values: dict[str, Any], tmp_path: Path, old: str, new: str, told: str
) -> None:
    path = tmp_path / "sweeps.csv"
    tabulate({"points": [asdict(point) for point in points(parsed(values, far=FIELD))]}, out=path)
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=told):
        read_points(path)
