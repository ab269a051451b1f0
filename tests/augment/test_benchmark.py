"""The augmenters' benchmark runs at a tiny size and prints what it promises; nothing is timed."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mmrobust.augment import run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The verb sets how many there are."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_all_methods_are_made_anew_each_round(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counting(job: Any, passes: Any, *, workers: int) -> Any:
        made.append(len(passes))
        assert workers == 1
        return make_chunks(job, passes, workers=workers)

    make_chunks = run.make_chunks
    monkeypatch.setattr(run, "make_chunks", counting)
    main = runpy.run_path(str(ROOT / "benchmarks" / "augmentation.py"))["main"]
    main(["--study", str(ROOT / "config" / "smoke.yaml"), "--items", "20", "--rounds", "2"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    captions, pictures = found["captions_per_s"], found["pictures_per_s"]
    assert list(captions) == ["scenes_paraphrase", "scenes_caption", "eda", "human_captions"]
    assert list(pictures) == ["scenes_render", "scenes_draw", "randaugment"]
    assert min([*captions.values(), *pictures.values()]) > 0
    assert found["items"] == 20
    assert made == list(found["of_an_item"].values()) * 2  # a chunk for each number
