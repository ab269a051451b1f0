from __future__ import annotations

import gzip
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from mmrobust.cli import app
from mmrobust.errors import UserError
from mmrobust.report.comparison import compare


@pytest.fixture
def record(made_up: ModuleType, tmp_path: Path) -> Path:
    made_up.write_metrics(tmp_path / "record.csv", made_up.metric_rows())
    return tmp_path / "record.csv"


def changed(record: Path, name: str, **values: object) -> Path:
    """A copy with some columns of its first row set."""
    table = pd.read_csv(record, dtype=str, keep_default_na=False)
    for column, value in values.items():
        table.loc[0, column] = str(value)
    path = record.with_name(f"{name}.csv")
    table.to_csv(path, index=False)
    return path


def test_a_run_beside_itself_is_the_same_throughout(record: Path) -> None:
    found = compare(record, record)
    assert found.counts() == {"same": len(pd.read_csv(record))}


@pytest.mark.parametrize(
    ("values", "agreement"),
    [
        ({"value": 0.5, "low": 0.4, "high": 0.9}, "overlap"),
        ({"value": 0.001, "low": 0.0, "high": 0.002}, "apart"),
        ({"value": "", "low": "", "high": ""}, "undefined"),
        ({"n": 17}, "overlap"),
        ({"high": 0.99}, "overlap"),
        ({"dataset": "flickr8k"}, "another setting"),
        ({"image_eps": 8 / 255}, "another setting"),
        ({"text_words": 4, "value": 0.001}, "another setting"),
        ({"confidence": 0.5}, "another setting"),
        ({"attacked_images": 200}, "another setting"),
    ],
)
def test_a_measure_that_differs_is_told_how(
    record: Path, values: dict[str, object], agreement: str
) -> None:
    first = pd.read_csv(record).iloc[0]
    assert first["low"] > 0.002
    assert first["low"] < 0.9
    found = compare(changed(record, "run", **values), record)
    assert found.counts() == {"same": len(pd.read_csv(record)) - 1, agreement: 1}


def test_what_differs_in_the_setting_is_named(record: Path) -> None:
    other = changed(record, "run", dataset="flickr8k", text_words=4)
    found = compare(other, record)
    assert found.table["differs"].tolist()[0] == "dataset text_words"
    assert set(found.table["differs"][1:]) == {""}
    (line,) = [of for of in found.lines(metric="recall_at_k", k=1) if "another setting" in of][:1]
    assert line.endswith("| another setting (dataset text_words)")


def test_cells_of_one_run_alone_are_told(record: Path) -> None:
    other = changed(record, "run", attack="mine")
    assert compare(other, record).counts() == {
        "same": len(pd.read_csv(record)) - 1,
        "only here": 1,
        "only there": 1,
    }


def test_cells_are_printed_in_percent(record: Path) -> None:
    (line, *_), first = (
        list(compare(record, record).lines(metric="recall_at_k", k=1)),
        pd.read_csv(record).query("metric == 'recall_at_k' and k == 1").iloc[0],
    )
    said = f"{100 * first['value']:.1f} [{100 * first['low']:.1f}, {100 * first['high']:.1f}]"
    assert line.startswith(f"{first['defence']}/seed0/{first['attack']} {first['direction']} (")
    assert line.endswith(f": {said} | {said} | same")


def test_a_metric_or_cut_off_that_neither_run_has_is_told(record: Path) -> None:
    found = compare(record, record)
    with pytest.raises(UserError, match="unknown metric 'recall_at'; did you mean 'recall_at_k'"):
        list(found.lines(metric="recall_at", k=1))
    with pytest.raises(UserError, match=r"metric recall_at_k: no k of 7 \(allowed: 1, 5, 10\)"):
        list(found.lines(metric="recall_at_k", k=7))


@pytest.mark.parametrize("k", [1, 5])
def test_one_line_a_cell_is_printed_of_one_metric_at_one_rank(record: Path, k: int) -> None:
    table = pd.read_csv(record)
    recall = table[table["metric"] == "recall_at_k"]
    at_rank = recall[recall["k"] == k]
    assert 0 < len(at_rank) < len(recall) < len(table)
    *lines, last = compare(record, record).lines(metric="recall_at_k", k=k)
    assert len(lines) == len(at_rank)
    said = [f": {100 * value:.1f} [" for value in at_rank["value"]]
    assert all(text in line for text, line in zip(said, lines, strict=True))
    assert last.startswith("all measures: ")


def test_the_verb_prints_and_writes(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = record.with_name("compared.csv")
    app(["compare", str(record), str(record), "--out", str(out)], standalone_mode=False)
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"all measures: {len(pd.read_csv(record))} same"
    assert len(pd.read_csv(out)) == len(pd.read_csv(record))


def test_what_is_no_table_is_told(record: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv: file is missing"):
        compare(record, tmp_path / "none.csv")


def test_a_compressed_table_is_the_same(record: Path) -> None:
    packed = record.with_name("metrics.csv.gz")
    packed.write_bytes(gzip.compress(record.read_bytes()))
    assert compare(record, packed).counts() == {"same": len(pd.read_csv(record))}


@pytest.mark.parametrize(
    "broken",
    [b"no archive", gzip.compress(b"study," * 99)[:-20]],
    ids=["no archive", "cut short"],
)
def test_a_broken_archive_is_told(record: Path, broken: bytes) -> None:
    packed = record.with_name("metrics.csv.gz")
    packed.write_bytes(broken)
    with pytest.raises(UserError, match=r"metrics\.csv\.gz: not a compressed table"):
        compare(record, packed)


@pytest.mark.parametrize("here", ["results/scenes", "results/scenes/metrics.csv"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_run_is_set_beside_the_results_of_record(
    record: Path, monkeypatch: pytest.MonkeyPatch, here: str, packed: bool
) -> None:
    monkeypatch.chdir(record.parent)
    own, published = Path("results/scenes"), Path("docs/reference_results/scenes")
    for folder in (own, published):
        folder.mkdir(parents=True)
    record.rename(own / "metrics.csv")
    other = changed((own / "metrics.csv").resolve(), "other", n=17)
    if packed:
        (published / "metrics.csv.gz").write_bytes(gzip.compress(other.read_bytes()))
    else:
        other.rename(published / "metrics.csv")
    rows = len(pd.read_csv(own / "metrics.csv"))
    assert compare(Path(here)).counts() == {"same": rows - 1, "overlap": 1}


def test_results_of_record_that_are_not_there_are_told(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(record.parent)
    with pytest.raises(UserError, match=r"^mine: no such folder or table$"):
        compare(Path("mine"))
    Path("mine").mkdir()
    with pytest.raises(UserError, match=r"^docs/reference_results/mine: no results of record"):
        compare(Path("mine"))
    with pytest.raises(UserError, match=r"^mine: no table of metrics"):
        compare(Path("mine"), record)


RECORDS = sorted(Path(__file__).parents[2].glob("docs/reference_results/*/metrics.csv*"))


def test_some_results_are_of_record() -> None:
    assert {path.parent.name for path in RECORDS} >= {"scenes"}


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_results_of_record_can_be_compared_with(path: Path) -> None:
    (agreement,) = compare(path, path.parent).counts()
    assert agreement == "same"


def test_shares_without_a_cut_off_are_printed_too() -> None:
    folder = Path(__file__).parents[2] / "docs" / "reference_results" / "scenes"
    table, found = pd.read_csv(folder / "metrics.csv"), compare(folder, folder)
    for metric in ("caption_truth", "hard_negative_accuracy"):
        *lines, _ = found.lines(metric=metric, k=1)
        assert len(lines) == len(table.query("metric == @metric")) > 0
