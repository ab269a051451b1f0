"""Results of record say what the tables of a study say, all of it, and the same every time."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from mmrobust.cli import app
from mmrobust.errors import UserError
from mmrobust.figures.catalogue import FIGURES
from mmrobust.figures.table import read_metrics
from mmrobust.report import publish
from mmrobust.report.comparison import compare
from mmrobust.report.publish import publish_results
from mmrobust.sweep_table import tabulate

SEEDS = (0, 1, 2)
PROTOCOLS = {"whole gallery": "full_gallery", "own pair": "own_pair"}
CAPTION = re.compile(r"\*\*(i2t|t2i) recall at 1, %, (one-image|positives) labels\*\*(.*)")
NUMBER = r"(\S+) \[(\S+), (\S+)\]"


def rows_of_study(made_up: ModuleType, seeds: tuple[int, ...]) -> list[dict[str, Any]]:
    """Three defences and one that a sweep laid out; `dra` and a curve on two of them alone."""
    rows = made_up.metric_rows(seeds=seeds, suite=True)
    kept = [
        row
        for row in rows
        if row["defence"] != "standard" or (row["attack"] != "dra" and row.get("curve") != "words")
    ]
    point = [row | {"defence": "mat_rate_0p5"} for row in kept if row["defence"] == "mat"]
    return [*kept, *(row for row in point if row["attack"] in made_up.ATTACKS)]


def write_results(made_up: ModuleType, results: Path, seeds: tuple[int, ...] = SEEDS) -> Path:
    made_up.write_study(results, seeds=seeds)
    made_up.write_metrics(results / "metrics.csv", rows_of_study(made_up, seeds))
    point = {"sweep": "misalignment", "field": "rate", "base": "mat", "swept": "caption", "n": 2}
    points = [
        point | {"value": "0", "defence": "mat", "augmentation": "caption"},
        point | {"value": "0.5", "defence": "mat_rate_0p5", "augmentation": "caption_rate_0p5"},
    ]
    tabulate({"points": [of | {"without": "tecoa"} for of in points]}, out=results / "sweeps.csv")
    (results / "augmentations.csv").write_text(
        "study,augmentation,method,n,modality,measure,value,low,high,items,confidence\n"
        "s,caption,scenes_caption,2,caption,true_share,0.98,0.97,0.99,1500,0.95\n"
        "s,caption,scenes_caption,2,caption,frechet_distance,0.0123,,,1500,0.95\n"
        "s,caption_rate_0p5,scenes_caption,1,caption,true_share,0.6,0.5,0.7,1500,0.95\n"
        "s,caption_rate_0p5,scenes_caption,2,caption,true_share,0.513,0.5,0.52,1500,0.95\n"
        "s,caption_rate_0p5,scenes_caption,4,caption,true_share,0.4,0.3,0.5,1500,0.95\n"
    )
    for name in FIGURES:
        path = results / "figures" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    return results


@pytest.fixture(scope="module")
def results(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(made_up, tmp_path_factory.mktemp("results") / "scenes")


@pytest.fixture(scope="module")
def published(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs") / "scenes"
    publish_results(results, out, about="On a machine that was made up.")
    return out


@pytest.fixture(scope="module")
def page(published: Path) -> str:
    return (published / "README.md").read_text(encoding="utf-8")


def tables(text: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Each table, head first, with the last paragraph before it that is none."""
    before = ""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("|"):
            lines = [line.strip("|").split(" | ") for line in paragraph.splitlines()]
            yield (
                before,
                [[cell.strip() for cell in line] for line in lines if "---" not in line[0]],
            )
        else:
            before = paragraph


def told(text: str) -> set[tuple[object, ...]]:
    """Every number of a seed in the tables of recall, whichever side is down."""
    found = set()
    for before, (head, *lines) in tables(text):
        caption = CAPTION.match(before)
        if not caption:
            continue
        protocol = next(name for words, name in PROTOCOLS.items() if words in caption[3])
        for line in lines:
            for other, cell in zip(head[1:], line[1:], strict=True):
                model, attack = (line[0], other) if head[0] == "defence" else (other, line[0])
                defence, seed = re.fullmatch(r"`(\w+)`(?:, (.*))?", model).groups()  # type: ignore[union-attr]
                name, n = re.fullmatch(r"`(\w+)`, n = (\S+)", attack).groups()  # type: ignore[union-attr]
                labels = caption[2].replace("-", "_")
                where = (protocol, labels, caption[1], defence, seed or "seed 0", name)
                found.add((*where, cell.removesuffix(" flag"), n))
    return found


def expected(results: Path) -> set[tuple[object, ...]]:
    """The same from the table: of positives labels only under the whole gallery."""
    rows = read_metrics(results / "metrics.csv")
    rows = rows[(rows["metric"] == "recall_at_k") & (rows["k"] == 1)]
    rows = rows[rows["defence"] != "mat_rate_0p5"]
    rows = rows[(rows["protocol"] == "full_gallery") | (rows["labels"] == "one_image")]
    rows = rows[(rows["protocol"] == "own_pair") | (rows["curve"] == "")]
    found = set()
    for row in rows.to_dict("records"):
        low, value, high = (f"{100 * row[key]:.1f}" for key in ("low", "value", "high"))
        where = [str(row[key]) for key in ("protocol", "labels", "direction", "defence")]
        seed, n = f"seed {row['seed']:.0f}", f"{row['n']:,.0f}"
        found.add((*where, seed, row["attack"], f"{value} [{low}, {high}]", n))
    return found


def test_every_number_of_every_seed_is_that_of_the_table(page: str, results: Path) -> None:
    found = {number for number in told(page) if number[4] != "mean"}
    assert len(found) > 500
    assert found == expected(results)


def test_a_study_of_one_seed_has_no_means(made_up: ModuleType, tmp_path: Path) -> None:
    results = write_results(made_up, tmp_path / "scenes", seeds=(0,))
    publish_results(results, tmp_path / "out")
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert told(page) == expected(results)
    assert "- Training seeds: 0.\n" in page


def test_means_are_told_with_the_lowest_and_the_highest_seed(page: str, results: Path) -> None:
    rows = read_metrics(results / "metrics.csv")
    rows = rows[(rows["metric"] == "recall_at_k") & (rows["k"] == 1) & (rows["attack"] == "sga")]
    rows = rows[(rows["protocol"] == "own_pair") & (rows["labels"] == "one_image")]
    of = 100 * rows[(rows["defence"] == "mat") & (rows["direction"] == "t2i")]["value"]
    text = f"{of.mean():.1f} (3 seeds, {of.min():.1f} to {of.max():.1f})"
    where = ("own_pair", "one_image", "t2i", "mat", "mean", "sga")
    assert (*where, text, "10,000") in told(page)


def test_a_worst_case_of_one_direction_is_not_missing_in_the_other(
    made_up: ModuleType, results: Path, tmp_path: Path
) -> None:
    one_way = tmp_path / "scenes"
    shutil.copytree(results, one_way)
    rows = [
        row | {"worst_case": "i2t"} if row["attack"] == "strongest" else row
        for row in rows_of_study(made_up, SEEDS)
        if row["attack"] != "strongest" or row["direction"] == "i2t"
    ]
    made_up.write_metrics(one_way / "metrics.csv", rows)
    publish_results(one_way, tmp_path / "out", about="On a machine that was made up.")
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    recall = page.partition("## Recall, all attacks")[2].partition("\n## ")[0]
    assert recall.count("`strongest`") > 1
    assert "missing" not in recall


def test_means_of_captions_made_wrong_stand_before_their_seeds(
    made_up: ModuleType, results: Path, tmp_path: Path
) -> None:
    study = tmp_path / "scenes"
    shutil.copytree(results, study)
    rows = rows_of_study(made_up, SEEDS)
    first = {row["seed"]: row for row in rows if row["defence"] == "standard"}
    shares = [
        row | {"metric": "hard_negative_accuracy", "value": 0.8 + 0.03 * seed, "attack": "clean"}
        for seed, row in first.items()
    ]
    made_up.write_metrics(study / "metrics.csv", [*rows, *shares])
    publish_results(study, tmp_path / "out", about="On a machine that was made up.")
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    wrong = page.partition("## Captions with one word made wrong")[2].partition("\n## ")[0]
    [[_, *rows]] = [lines for _, lines in tables(wrong)]
    assert [row[:2] for row in rows] == [["`standard`", of] for of in ("mean", "0", "1", "2")]
    assert rows[0][2] == "83.0 (3 seeds, 80.0 to 86.0)"
    assert all(", n = " in row[2] for row in rows[1:])


def test_labels_that_change_nothing_are_told_once(made_up: ModuleType, tmp_path: Path) -> None:
    results = write_results(made_up, tmp_path / "scenes", seeds=(0,))
    table = pd.read_csv(results / "metrics.csv", dtype=str, keep_default_na=False)
    key = ["defence", "attack", "protocol", "direction", "metric", "k"]
    numbers = ["value", "low", "high"]
    same = table[table["labels"] == "one_image"].set_index(key)[numbers]
    of = table["labels"] == "positives"
    table.loc[of, numbers] = same.loc[table.loc[of, key].itertuples(index=False)].to_numpy()
    table.to_csv(results / "metrics.csv", index=False)
    publish_results(results, tmp_path / "out")
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert {number[1] for number in told(page)} == {"one_image"}


def test_a_sweep_stands_apart_with_what_was_measured_at_its_number(
    page: str, results: Path
) -> None:
    [(before, (head, *lines))] = [of for of in tables(page) if "learns from" in of[0]]
    assert before.startswith("`mat` learns from `caption`, over `rate`. ")
    assert [line[0] for line in lines] == ["none"] * 4 + ["0"] * 4 + ["0.5"] * 4
    measured = {line[0]: line[1:5] for line in lines}
    none = "\N{EN DASH}"
    assert measured["none"] == [none] * 4
    assert measured["0"] == ["2", "98.0 [97.0, 99.0]", none, "0.0123"]
    assert measured["0.5"] == ["2", "51.3 [50.0, 52.0]", none, none]
    rows = read_metrics(results / "metrics.csv")
    rows = rows[(rows["metric"] == "recall_at_k") & (rows["k"] == 1) & (rows["seed"] == 2)]
    rows = rows[(rows["protocol"] == "full_gallery") & (rows["labels"] == "one_image")]
    [line] = [line for line in lines if line[5] == "`mat_rate_0p5`, seed 2"]
    for direction, n in (("i2t", "2,000"), ("t2i", "10,000")):
        for attack in ("clean", "pgd", "sga"):
            cell = rows[(rows["defence"] == "mat_rate_0p5") & (rows["attack"] == attack)]
            [row] = cell[cell["direction"] == direction].to_dict("records")
            text = line[head.index(f"{direction} `{attack}`, n = {n}")]
            assert re.fullmatch(NUMBER, text)[1] == f"{100 * row['value']:.1f}"  # type: ignore[index]
    assert not [name for name in head if "square" in name or "dra" in name]


def test_a_curve_that_a_sweep_met_stands_under_it(
    made_up: ModuleType, results: Path, tmp_path: Path
) -> None:
    source = tmp_path / "scenes"
    shutil.copytree(results, source)
    table = pd.read_csv(source / "metrics.csv", keep_default_na=False)
    base = table[(table["defence"] == "mat") & (table["curve"] == "pixels")]
    assert not base.empty
    added = base.assign(defence="mat_rate_0p5")
    pd.concat([table, added]).to_csv(source / "metrics.csv", index=False)
    publish_results(source, tmp_path / "out")
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    section = page[page.index("## Sweeps") : page.index("## Augmented sets")]
    assert section.count("only the query's own") == 1
    wanted = read_metrics(source / "metrics.csv").query(
        "metric == 'recall_at_k' and k == 1 and labels == 'one_image' and protocol == 'own_pair' "
        "and direction == 'i2t' and seed == 2 and curve == 'pixels' and defence == 'mat'"
    )
    assert len(wanted) == 5
    told = [f"{100 * float(value):.1f}" for value in wanted["value"]]
    [line] = [
        line for line in section.splitlines() if line.startswith("| `mat_rate_0p5`, seed 2 |")
    ]
    assert re.findall(r"\| (\d+\.\d) \[", line) == told
    assert "`sga_words_1`" not in section


def test_claims_and_flags_are_told_whole(made_up: ModuleType, page: str) -> None:
    for claim in made_up.CLAIMS:
        for key in ("id", "statement", "source", "statistic", "verdict"):
            assert claim[key] in page
        if claim["estimate"] != "":
            low, value, high = (
                f"{claim[key]:.4f}".replace("-", "\N{MINUS SIGN}")
                for key in ("low", "estimate", "high")
            )
            assert f"| {value} [{low}, {high}] at 95 % |" in page
    assert "2 raised of 6 checks." in page
    assert "| `query_beats_gradients` | 1 | 1 |" in page
    number = "\N{MINUS SIGN}0.0800 [\N{MINUS SIGN}0.1300, \N{MINUS SIGN}0.0300]"
    assert f"| `tecoa` | 0 | `pgd` | `query_beats_gradients` | `square` | {number} | 200 |" in page
    flagged = [row for row in told(page) if row[3:6] == ("tecoa", "seed 0", "pgd")]
    assert page.count(" flag |") >= len(flagged) > 0


def test_the_page_says_how_it_came_about(page: str) -> None:
    assert page.startswith("# Results of record: `scenes`\n\nOn a machine that was made up.\n\n")
    assert "- Training seeds: 0, 1, 2.\n" in page
    assert "- Machine: Made-up Processor 9000, 2 cores, 24 GB.\n" in page
    assert "- Packages: Python 3.11.7, numpy 2.4.1, torch 2.15.0.\n" in page
    assert "- Code: commit `0123456789`.\n" in page
    total = 3 * (61.5 + 101.5 + 141.5 + 3 * 95)
    assert (
        f"- Jobs: {total:,.0f} s of wall time, summed over jobs that may run side by side" in page
    )
    assert "9 of `evaluate-model` (14 min 15 s)" in page
    assert "the largest took 812 MB" in page


def test_runs_that_differ_are_told_apart(made_up: ModuleType, tmp_path: Path) -> None:
    results = write_results(made_up, tmp_path / "scenes", seeds=(0,))
    path = results / "models" / "mat" / "seed0" / "run.json"
    facts = json.loads(path.read_text()) | {
        "git_commit": "f" * 40 + "-dirty",
        "peak_memory_mb": 2048,
    }
    path.write_text(json.dumps(facts))
    publish_results(results, tmp_path / "out")
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    told = "commit `0123456789` (5 jobs); commit `ffffffffff` with changed files (1 jobs)"
    assert f"- Code: {told}.\n" in page
    assert "the largest took 2,048 MB" in page


def test_tables_and_charts_stand_beside_it_and_no_pictures_of_data(
    published: Path, results: Path, page: str
) -> None:
    names = {path.name for path in published.iterdir()}
    charts = {f"{name}.png" for name, entry in FIGURES.items() if not entry.shows_data}
    csv = {f"{name}.csv" for name in ("metrics", "claims", "flags", "augmentations", "sweeps")}
    assert {name.removesuffix(".gz") for name in names} == {"README.md", *csv, *charts}
    assert "examples.png" not in page
    for name in names - {"README.md", "metrics.csv.gz"}:
        assert f"]({name})" in page
        source = results / ("figures" if name in charts else "") / name
        assert (published / name).read_bytes() == source.read_bytes()


def test_large_tables_are_compressed_the_same_every_time(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "LARGE", 2**40)
    publish_results(results, tmp_path / "again")
    assert (tmp_path / "again" / "metrics.csv").is_file()
    monkeypatch.setattr(publish, "LARGE", (results / "flags.csv").stat().st_size)
    for name in ("one", "again"):
        publish_results(results, tmp_path / name)
        os.utime(results / "metrics.csv", (1e9, 1e9))
    one, again = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "again")
    )
    assert one == again
    assert "metrics.csv" not in one
    assert "flags.csv" in one
    assert gzip.decompress(one["metrics.csv.gz"]) == (results / "metrics.csv").read_bytes()
    assert b"](metrics.csv.gz)" in one["README.md"]
    assert compare(results, tmp_path / "one").counts().keys() == {"same"}


def test_what_is_not_its_own_stays(results: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("mine")
    (tmp_path / "examples.png").write_text("mine too")
    (tmp_path / "flags.csv.gz").write_text("of before")
    publish_results(results, tmp_path)
    assert (tmp_path / "notes.md").read_text() == "mine"
    assert (tmp_path / "examples.png").read_text() == "mine too"
    assert (tmp_path / "flags.csv").is_file()
    assert not (tmp_path / "flags.csv.gz").exists()


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("metrics.csv", None, r"metrics\.csv: file is missing"),
        ("claims.csv", None, r"claims\.csv: file is missing"),
        ("flags.csv", None, r"flags\.csv: file is missing"),
        ("sweeps.csv", "sweep\n", r"sweeps\.csv: column missing: field"),
        ("judge/run.json", "{}", r"judge/run\.json: not the facts of a run"),
        ("figures/recall_at_k.png", None, r"figures/recall_at_k\.png: file is missing"),
    ],
)
def test_bad_input_ends_in_one_line_and_nothing_is_written(
    made_up: ModuleType, tmp_path: Path, name: str, content: str | None, line: str
) -> None:
    results = write_results(made_up, tmp_path / "scenes", seeds=(0,))
    path = results / name
    if content is None:
        path.unlink()
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    out = tmp_path / "out"
    with pytest.raises(UserError, match=line):
        app(
            ["publish-results", "--results", str(results), "--out", str(out)], standalone_mode=False
        )
    assert not out.exists()


def test_what_an_earlier_form_of_the_study_left_is_not_told(
    made_up: ModuleType, tmp_path: Path
) -> None:
    results = write_results(made_up, tmp_path / "scenes", seeds=(0,))
    publish_results(results, tmp_path / "before")
    job = json.loads((results / "models" / "mat" / "seed0" / "run.json").read_text())
    for place in ("models/mat/seed7", "models/gone/seed0", "cells/gone/seed0"):
        (results / place).mkdir(parents=True)
        (results / place / "run.json").write_text(json.dumps(job | {"git_commit": "e" * 40}))
    publish_results(results, tmp_path / "after")
    pages = [(tmp_path / name / "README.md").read_bytes() for name in ("before", "after")]
    assert pages[0] == pages[1]


def test_numbers_of_which_no_job_tells_are_refused(made_up: ModuleType, tmp_path: Path) -> None:
    results = write_results(made_up, tmp_path / "scenes", seeds=(0,))
    for path in results.rglob("run.json"):
        path.unlink()
    with pytest.raises(UserError, match=r"no job left its run\.json"):
        publish_results(results, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_study_without_results_and_an_essay_are_refused(
    made_up: ModuleType, results: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="--about: 2 lines"):
        publish_results(results, tmp_path / "out", about="one\ntwo")
    made_up.write_metrics(tmp_path / "metrics.csv", [])
    with pytest.raises(UserError, match=r"metrics\.csv: no results"):
        publish_results(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
