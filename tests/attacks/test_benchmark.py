"""The attacks' benchmark runs at a tiny size and prints what it promises; nothing is timed here."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Any]]:
    """Runs it in this process with some arguments and reads its last line."""
    threads = torch.get_num_threads()
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    main = runpy.run_path(str(BENCHMARKS / "attacks.py"))["main"]

    def run(*arguments: str) -> Any:
        main(["--quick", "--threads", "1", *arguments])
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    yield run
    torch.set_num_threads(threads)


def test_speed_and_passes_are_printed(benchmark: Callable[..., Any]) -> None:
    found = benchmark("--without", "memory")
    for key in ("text_attack_speedup", "sga_speedup", "image_attack_over_passes"):
        assert found[key] > 0
    assert set(found["text_attack_gives"]) == {
        "trimmed",
        "one_caption_at_a_time",
        "batched",
        "order_and_candidates_kept",
        "rows_kept",
    }
    assert found["objective"][0] == pytest.approx(found["objective"][1], abs=1e-4)
    rows = found["rows"]
    assert rows["plain"] > rows["batched"] > rows["rows_kept"]
    assert rows["plain"] > 2 * rows["rows_kept"]


def test_a_peak_is_printed(benchmark: Callable[..., Any]) -> None:
    assert benchmark("--peak-of", "20") > 50
