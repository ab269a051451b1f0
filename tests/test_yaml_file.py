from __future__ import annotations

from pathlib import Path

import pytest

from mmrobust.errors import UserError
from mmrobust.yaml_file import read_yaml


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3\n", "a.yaml: line 3: key 'a' stands twice"),
        ("x:\n  pgd: {steps: 2}\n  pgd: {steps: 1}\n", "a.yaml: line 3: key 'pgd' stands twice"),
        ("x: {a: 1, a: 2}\n", "a.yaml: line 1: key 'a' stands twice"),
        ("- &one {a: 1}\n- {<<: *one, b: 2, b: 3}\n", "a.yaml: line 2: key 'b' stands twice"),
        ("a: [1\n", "a.yaml: not valid YAML"),
        ("a: 1\non: 2\n", "a.yaml: line 2: key 'on' is no text (in quotes it is one)"),
        ("defences:\n  1: {method: mat}\n", "a.yaml: line 2: key '1' is no text"),
        ("attacks: {null: 1}\n", "a.yaml: line 1: key 'null' is no text"),
        ("a: {[1, 2]: 3}\n", "a.yaml: line 1: key of a mapping is no text"),
        ("a: 0.5\nb: [.nan]\n", "a.yaml: line 2: .nan is no finite number"),
        ("a: {b: -.inf}\n", "a.yaml: line 1: -.inf is no finite number"),
    ],
)
def test_what_is_amiss_is_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        read_yaml(written(tmp_path, text))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_quoted_keys_and_numbers_of_all_forms_are_kept(tmp_path: Path) -> None:
    text = "'on': 1.5\n'1': 2.0e-3\nplain: [-1, 0.25, true, null]\n"
    assert read_yaml(written(tmp_path, text)) == {
        "on": 1.5,
        "1": 0.002,
        "plain": [-1, 0.25, True, None],
    }


def test_a_section_laid_over_another_is_no_repetition(tmp_path: Path) -> None:
    text = "one: &one {a: 1, b: 2}\ntwo: {<<: *one, b: 3}\n"
    assert read_yaml(written(tmp_path, text))["two"] == {"a": 1, "b": 3}
