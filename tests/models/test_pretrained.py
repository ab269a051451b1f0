from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mmrobust.errors import UserError
from mmrobust.models.pretrained import PretrainedReader


def found(*missing: str) -> dict[str, Any]:
    return {"missing_keys": set(missing)}


def refusal(name: str, *missing: str, reason: str = "", **fields: str) -> str:
    """What is said of a model whose reading fails for a reason, or whose weights lack parts."""

    def load(options: Mapping[str, Any]) -> tuple[Any, Any, Mapping[str, Any]]:
        if reason:
            raise OSError(reason)
        return None, None, found(*missing)

    with pytest.raises(UserError) as caught:
        PretrainedReader(name=name, where="here", **fields).read(load)
    return str(caught.value)


@pytest.mark.parametrize("is_folder", [True, False])
def test_only_names_of_the_hub_are_looked_up_and_no_code_is_run(
    tmp_path: Path, is_folder: bool
) -> None:
    told: list[Mapping[str, Any]] = []

    def load(options: Mapping[str, Any]) -> tuple[Any, Any, Mapping[str, Any]]:
        told.append(options)
        return "model", "tokenizer", found()

    name = str(tmp_path) if is_folder else "some/model"
    read = PretrainedReader(name=name, where="here").read(load)
    assert read == ("model", "tokenizer")
    assert told == [{"local_files_only": is_folder, "trust_remote_code": False}]


@pytest.mark.parametrize("name", ["./none", "/none", "../none", "a/b/c"])
def test_a_name_that_can_only_be_a_folder_is_not_looked_up(name: str) -> None:
    assert refusal(name, reason="looked up") == f"here: {name}: no such folder"


def test_the_reason_is_told_in_one_line(tmp_path: Path) -> None:
    told = refusal(str(tmp_path), reason="not found\nlong advice", allowed="; allowed are others")
    assert told == f"here: {tmp_path}: transformers can't load it (not found); allowed are others"
    told = refusal("some/model", reason="not found\nlong advice", allowed="; allowed are others")
    assert re.fullmatch(r"here: 'some/model' is neither .*\(not found\); allowed are others", told)


def test_the_first_missing_part_is_told(tmp_path: Path) -> None:
    assert refusal(str(tmp_path), "b", "a") == f"here: {tmp_path}: its weights lack a"
    told = refusal(str(tmp_path), "a", lacks="it has no {}")
    assert told == f"here: {tmp_path}: it has no a"


def test_what_the_loading_itself_refuses_is_told_as_it_is(tmp_path: Path) -> None:
    reader = PretrainedReader(name=str(tmp_path), where="here")

    def load(options: Mapping[str, Any]) -> tuple[Any, Any, Mapping[str, Any]]:
        raise reader.error("no model")

    with pytest.raises(UserError, match=rf"^here: {re.escape(str(tmp_path))}: no model$"):
        reader.read(load)
