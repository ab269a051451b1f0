"""How a change of a job's parameters, or of the code behind them, is told."""

from __future__ import annotations

import json

import pytest

from mmrobust.pipeline.code_notes import code_changes, keep_notes
from mmrobust.pipeline.fingerprint import digest_of
from mmrobust.pipeline.why import parameter_changes

BEFORE = {"python": "3.11", "mmrobust.attacks.pgd": "a1", "mmrobust/page.txt": "b1", "numpy": "2.0"}
OLD = digest_of(BEFORE)


@pytest.fixture(autouse=True)
def _noted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keep_notes({OLD: BEFORE})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mmrobust.attacks.pgd": "a2"}, "mmrobust.attacks.pgd was edited"),
        ({"mmrobust/page.txt": "b2"}, "mmrobust/page.txt was edited"),
        ({"numpy": "2.1"}, "numpy 2.0 -> 2.1"),
        ({"python": "3.12"}, "python 3.11 -> 3.12"),
        ({"scipy": "1.17"}, "scipy is imported now"),
        ({"numpy": None}, "numpy is no longer imported"),
        (
            {"numpy": None, "mmrobust.attacks.pgd": "a2"},
            "mmrobust.attacks.pgd was edited; numpy is no longer imported",
        ),
    ],
)
def test_a_change_of_code_is_told_by_its_module(change, told):
    now = {name: value for name, value in (BEFORE | change).items() if value is not None}
    new = digest_of(now)
    assert new != OLD
    assert code_changes(OLD, new, {new: now}) == told


def test_code_that_nobody_noted_is_told_by_its_fingerprint():
    new = digest_of({})
    told = code_changes("0" * 16, new, {new: {}})
    assert told == f"{'0' * 16} -> {new} (there is no note of what {'0' * 16} was)"


def test_a_folder_that_cannot_be_written_is_passed_over(tmp_path):
    (tmp_path / "file").touch()
    keep_notes({OLD: BEFORE}, tmp_path / "file" / "folder")


def changes(old: list[object], new: list[object]) -> list[str]:
    now = BEFORE | {"numpy": "2.1"}
    return list(parameter_changes(old, new, {digest_of(now): now}))


def test_a_changed_parameter_is_told_by_its_place():
    old = {"attacks": {"pgd": {"steps": 10, "eps": "2/255"}}, "seed": 0}
    new = {"attacks": {"pgd": {"steps": 7, "eps": "2/255"}}, "seed": 0, "device": "cpu"}
    assert changes([json.dumps(old)], [json.dumps(new)]) == [
        "parameter attacks.pgd.steps: 10 -> 7",
        'parameter device: nothing -> "cpu"',
    ]
    assert changes([json.dumps(new)], [json.dumps(old)])[1] == 'parameter device: "cpu" -> nothing'


@pytest.mark.parametrize("title", ["[draft] a title", "{a title", "[1]", "1"])
def test_a_title_may_look_like_json(title):
    assert changes([title], ["a title"]) == [f'parameter ["{title}"] -> ["a title"]']


def test_code_of_several_cells_is_told_once():
    new = digest_of(BEFORE | {"numpy": "2.1"})
    old_cfg, new_cfg = ({"code": {"pgd": of, "sga": of}} for of in (OLD, new))
    assert changes([json.dumps(old_cfg), OLD], [json.dumps(new_cfg), new]) == [
        "code of the verb, pgd, sga: numpy 2.0 -> 2.1"
    ]


def test_a_parameter_that_a_rule_got_or_lost_is_told():
    parts = json.dumps({"parts": {"only": []}})
    assert changes([], [parts]) == ['parameter parts: nothing -> {"only": []}']
    assert changes([parts], []) == ['parameter parts: {"only": []} -> nothing']
    assert changes([], [OLD]) == [f'code of the verb: nothing -> "{OLD}"']
    assert changes([OLD], []) == [f'code of the verb: "{OLD}" -> nothing']


def test_a_parameter_that_a_rule_got_hides_no_other():
    steps, more, parts = (json.dumps(of) for of in ({"steps": 1}, {"steps": 2}, {"parts": "all"}))
    told = ["parameter steps: 1 -> 2", 'parameter parts: nothing -> "all"']
    assert changes([steps], [more, parts]) == told
    assert sorted(changes([steps], [parts, more])) == sorted(told)


def test_outputs_of_several_runs_are_each_compared_with_now():
    older = digest_of({"python": "3.10"})
    keep_notes({older: {**BEFORE, "scipy": "1.17"}})
    assert changes([older, OLD], [digest_of(BEFORE | {"numpy": "2.1"})]) == [
        "code of the verb: numpy 2.0 -> 2.1; scipy is no longer imported",
        "code of the verb: numpy 2.0 -> 2.1",
    ]


def test_folders_that_end_in_a_fingerprint_are_not_told_apart():
    new = digest_of(BEFORE | {"numpy": "2.1"})
    folders = [[f"work/train/seed0-{of}"] for of in (OLD, new)]
    assert changes([OLD, folders[0]], [new, folders[1]]) == ["code of the verb: numpy 2.0 -> 2.1"]
    assert changes([["a"]], [["b"]]) == ['parameter [["a"]] -> [["b"]]']
