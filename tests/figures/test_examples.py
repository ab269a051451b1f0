"""Attacked items: words, pictures and ranks as they are stored, chosen whatever became of them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mmrobust.artifacts import sha256_file
from mmrobust.errors import UserError
from mmrobust.example_records import write_examples
from mmrobust.figures.examples import (
    changed_words,
    joint_attack,
    plot_examples,
    read_shown,
    wrapped,
)
from mmrobust.figures.style import save_figure
from mmrobust.figures.table import Grid, grid_of, read_metrics

GRID = Grid(defences=("standard", "tecoa", "mat"), attacks=("clean", "pgd", "sga"), seeds=(0,))


@pytest.fixture(scope="module")
def examples(made_up: ModuleType) -> dict[str, pd.DataFrame]:
    return {name: made_up.example_rows(defence=at) for at, name in enumerate(GRID.defences)}


@pytest.fixture(scope="module")
def figure(examples: dict[str, pd.DataFrame]) -> Figure:
    return plot_examples(
        examples, attack="sga", budget="white box · 2/255 · 2 words", title="scenes", grid=GRID
    )


@pytest.fixture(scope="module")
def suite(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("suite") / "metrics.csv"
    return read_metrics(made_up.write_metrics(path, made_up.metric_rows(suite=True)))


def texts(figure: Figure) -> list[str]:
    return [" ".join(text.get_text().split()) for text in figure.texts]


def test_words_are_compared_place_by_place() -> None:
    assert changed_words("a red cup", "a blue cup") == [("a", "a"), ("red", "blue"), ("cup", "cup")]
    assert changed_words("a b", "b a") == [("a", "b"), ("b", "a")]
    assert changed_words("a b", "a") == [("a", "a"), ("b", "")]


def test_lines_hold_all_words_and_no_more_than_fits() -> None:
    words = changed_words("one two three four five six", "one 2 three 4 five extraordinarily")
    lines = wrapped(words, 14)
    assert [word for line in lines for word in line] == words
    for line in lines:
        shown = " ".join(form for word in line for form in dict.fromkeys(word) if form)
        assert len(shown) < 14 or len(line) == 1
    assert len(wrapped(words, 1000)) == 1


def test_captions_and_ranks_are_as_stored(made_up: ModuleType, figure: Figure) -> None:
    said = texts(figure)
    assert said[0] == "scenes: what SGA does to a few test items"
    assert "white box · 2/255 · 2 words" in said[1]
    for before, after in zip(made_up.CAPTIONS, made_up.ATTACKED_CAPTIONS, strict=True):
        for old, new in changed_words(before, after):
            if old != new:
                assert said.count(old) >= 9
                assert said.count(new) >= 9
    # 3 items under 3 defences, one caption of each false
    assert said.count("false") == 9
    for ranks, times in (("rank 1 → 14", 9), ("rank 2 → 29", 3), ("rank 2 → 7", 3)):
        assert said.count(ranks) == times
    assert said.count("rank 1 → 1") == 9
    assert said.count("change \N{MULTIPLICATION SIGN} 64") == 9


def test_lost_answers_are_told_apart(figure: Figure) -> None:
    colours = {text.get_text(): text.get_color() for text in figure.texts}
    assert colours["rank 1 → 14"] != colours["rank 1 → 1"] == colours["rank 2 → 29"]


def test_pictures_are_the_stored_pixels(examples: dict[str, pd.DataFrame], figure: Figure) -> None:
    shown = iter(figure.axes)
    for image in (3, 8, 15):
        for defence in GRID.defences:
            table = examples[defence]
            row = table[table["image"] == image].iloc[0]
            for key in ("clean", "adversarial", "perturbation"):
                pixels = np.asarray(Image.open(io.BytesIO(row[key])))
                np.testing.assert_array_equal(next(shown).get_images()[0].get_array(), pixels)
    assert next(shown, None) is None


def test_items_are_chosen_by_number_whatever_their_order(
    examples: dict[str, pd.DataFrame],
) -> None:
    turned = {name: table.iloc[::-1] for name, table in examples.items()}
    said = texts(plot_examples(turned, attack="sga", grid=GRID, items=2))
    assert [text for text in said if text.startswith("test image")] == [
        "test image 3",
        "test image 8",
    ]


def test_text_stays_inside_the_page(figure: Figure) -> None:
    figure.canvas.draw()
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y0 >= 0


def test_a_missing_defence_is_said(examples: dict[str, pd.DataFrame]) -> None:
    some = {name: table for name, table in examples.items() if name != "tecoa"}
    assert texts(plot_examples(some, attack="sga", grid=GRID)).count("missing") == 3


def test_a_defence_that_the_attack_is_not_run_on_has_no_block(
    examples: dict[str, pd.DataFrame],
) -> None:
    some = {name: table for name, table in examples.items() if name != "tecoa"}
    said = texts(plot_examples(some, attack="sga", grid=replace(GRID, only={"sga": list(some)})))
    assert said.count("standard") == 3
    assert not {"missing", "TeCoA"} & set(said)


def test_the_attack_that_is_shown_is_run_on_every_defence(
    made_up: ModuleType, suite: pd.DataFrame, tmp_path: Path
) -> None:
    grid = grid_of(suite, only={"dra": ["mat"]})
    for defence in grid.defences:
        for attack in ("dra", "sga_transfer"):
            path = tmp_path / "examples" / defence / "seed0" / f"{attack}.parquet"
            write_examples(path, made_up.example_rows())
    assert read_shown(tmp_path, suite, grid_of(suite))[0] == "dra"
    attack, found = read_shown(tmp_path, suite, grid)
    assert (attack, list(found)) == ("sga_transfer", ["standard", "tecoa", "mat"])
    attack, found = read_shown(tmp_path, suite, grid, attack="dra")
    assert (attack, list(found)) == ("dra", ["mat"]), "the others are leftovers"


@pytest.mark.parametrize("empty", [True, False])
def test_no_examples_are_said(examples: dict[str, pd.DataFrame], empty: bool) -> None:
    none = {name: table.iloc[:0] for name, table in examples.items()} if empty else {}
    said = " ".join(texts(plot_examples(none, attack=None, grid=GRID)))
    assert "no examples: the study keeps none" in said


def test_many_defences_are_shown_on_fewer_items(examples: dict[str, pd.DataFrame]) -> None:
    def items(defences: int) -> int:
        names = tuple(f"d{number}" for number in range(defences))
        rows = {name: examples["mat"] for name in names}
        drawn = plot_examples(
            rows, attack="sga", grid=replace(GRID, defences=names), note=" · left"
        )
        said = texts(drawn)
        several = len(images(said)) > 1
        assert said[0].endswith("to a few test items" if several else "to a test item")
        assert said[1].endswith("true of its image · left")
        assert said.count("image asks for its captions") == defences * len(images(said))
        return len(images(said))

    def images(said: list[str]) -> list[str]:
        return [text for text in said if text.startswith("test image ")]

    assert [items(defences) for defences in (1, 5, 6, 8, 16)] == [3, 3, 2, 1, 1]


def test_photographs_made_small_are_titled_so(examples: dict[str, pd.DataFrame]) -> None:
    options = {"source_resolution": "128x128", "dataset": "flickr8k", "title": "study"}
    said = texts(plot_examples(examples, attack="sga", grid=GRID, **options))
    assert said[0].startswith("study (photographs at 128x128 pixels): what SGA does")
    assert "not comparable with published flickr8k numbers" in said[1]


def test_the_strongest_joint_attack_is_shown(suite: pd.DataFrame) -> None:
    every = list(suite["attack"].unique())
    assert joint_attack(suite, [name for name in every if name != "strongest"]) == "adaptive"
    # stronger, but its captions may become false: only if no other joint attack is there
    assert joint_attack(suite, ["pgd", "sga", "co_attack"]) == "sga"
    assert joint_attack(suite, ["pgd", "co_attack"]) == "co_attack"
    # crafted on another model: after one that knows the model
    assert joint_attack(suite, ["sga_transfer", "sga"]) == "sga"
    assert joint_attack(suite, ["sga_transfer", "pgd"]) == "sga_transfer"
    assert joint_attack(suite, ["square", "pgd"]) == "pgd"
    assert joint_attack(suite, []) is None


def test_examples_of_the_first_seed_are_read(
    made_up: ModuleType, suite: pd.DataFrame, tmp_path: Path
) -> None:
    assert read_shown(tmp_path, suite, GRID) == (None, {})
    made_up.write_all_examples(tmp_path)
    attack, found = read_shown(tmp_path, suite, GRID)
    assert attack == "sga"
    assert list(found) == list(GRID.defences)
    assert found["mat"]["adversarial_i2t_rank"].tolist() == [1] * 4
    attack, found = read_shown(tmp_path, suite, GRID, attack="pgd")
    assert attack == "pgd"
    assert len(found) == 3
    path = tmp_path / "examples" / "mat" / "seed0" / "sga.parquet"
    path.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"sga\.parquet: not a readable Parquet file"):
        read_shown(tmp_path, suite, GRID)


def test_words_are_text_and_bytes_are_the_same(
    examples: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    hashes = []
    for name in ("first", "second"):
        drawn = plot_examples(examples, attack="sga", grid=GRID, items=1)
        paths = save_figure(drawn, tmp_path / name, text_as_text=True)
        hashes.append([sha256_file(path) for path in paths])
    assert hashes[0] == hashes[1]
    svg = paths[1].read_text(encoding="utf-8")
    assert ">indigo</text>" in svg
    outlines = save_figure(drawn, tmp_path / "outlines")[1].read_text(encoding="utf-8")
    assert "<text" not in outlines
