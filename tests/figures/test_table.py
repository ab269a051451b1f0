"""The table is read strictly: names stay names, numbers are numbers, nothing stands twice."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from mmrobust.errors import UserError
from mmrobust.evaluation.tables import COLUMNS
from mmrobust.figures.table import (
    NUMBERS,
    SOMETIMES,
    TEXT,
    UNDEFINED,
    curves_of,
    gallery_sizes,
    grid_of,
    of_curve,
    read_metrics,
    select,
    strongest_attack,
    within_protocol,
)


def test_names_that_look_like_nothing_stay_names(made_up: ModuleType, tmp_path: Path) -> None:
    rows = [row | {"defence": "none"} for row in made_up.metric_rows()[:1]]
    table = read_metrics(made_up.write_metrics(tmp_path / "m.csv", rows))
    assert table["defence"].tolist() == ["none"]
    assert table["value"].iloc[0] == pytest.approx(rows[0]["value"])


def test_order_is_that_of_the_table_with_the_baselines_in_front(
    made_up: ModuleType, tmp_path: Path
) -> None:
    rows = sorted(made_up.metric_rows(seeds=(1, 0)), key=lambda row: row["defence"])
    rows.sort(key=lambda row: row["attack"], reverse=True)
    metrics = read_metrics(made_up.write_metrics(tmp_path / "m.csv", rows))
    grid = grid_of(metrics)
    assert grid.defences == ("standard", "mat", "tecoa")
    assert grid.attacks == ("clean", "word_substitution", "sga", "pgd")
    assert grid.seeds == (0, 1)
    assert grid_of(metrics, defences=["mat", "new"]).defences == ("mat", "new")
    assert strongest_attack(metrics, grid) == "sga"
    assert strongest_attack(metrics.iloc[:0], grid) is None


def test_all_columns_that_are_written_are_required(made_up: ModuleType, tmp_path: Path) -> None:
    assert sorted([*TEXT, *NUMBERS, *UNDEFINED, *SOMETIMES]) == sorted(COLUMNS)
    path = made_up.write_metrics(tmp_path / "metrics.csv", made_up.metric_rows())
    read_metrics(path).drop(columns=["gallery_images", "threat_model"]).to_csv(path, index=False)
    with pytest.raises(UserError, match="column missing: threat_model, gallery_images"):
        read_metrics(path)


@pytest.mark.parametrize("sizes", [(400, 100), (100, 400)])
def test_the_main_gallery_size_is_the_first_of_the_table(
    made_up: ModuleType, tmp_path: Path, sizes: tuple[int, int]
) -> None:
    # the two strongest attacks swap places in the second size
    other = {"sga": "pgd", "pgd": "sga"}
    first = [row | {"gallery_images": sizes[0]} for row in made_up.metric_rows()]
    second = [
        row | {"gallery_images": sizes[1], "attack": other.get(row["attack"], row["attack"])}
        for row in made_up.metric_rows()
    ]
    metrics = read_metrics(made_up.write_metrics(tmp_path / "m.csv", [*first, *second]))
    assert gallery_sizes(metrics) == list(sizes)
    assert strongest_attack(metrics, grid_of(metrics)) == "sga"
    for named, expected in ((None, sizes[0]), (sizes[1], sizes[1])):
        rows = select(metrics, metric="recall_at_k", gallery_images=named)
        assert set(rows["gallery_images"]) == {expected}
        assert len(rows) == 3 * 4 * 2


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics\.csv: file is missing"):
        read_metrics(tmp_path / "metrics.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a CSV table"),
        ("study,dataset\nscenes,scenes\n", "column missing: source_resolution, defence, attack"),
        (b"\xff\xfe\x00", "not a CSV table"),
    ],
)
def test_what_is_not_the_table_is_refused(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        read_metrics(path)


@pytest.mark.parametrize(("column", "text"), [("low", "wide"), ("low", "nan"), ("n", "")])
def test_text_in_the_place_of_a_number_is_refused(
    made_up: ModuleType, tmp_path: Path, column: str, text: str
) -> None:
    rows = made_up.metric_rows()[:3]
    rows[1] |= {column: text}
    path = made_up.write_metrics(tmp_path / "metrics.csv", rows)
    message = rf"metrics\.csv: line 3: {column} is '{text}', not a number"
    with pytest.raises(UserError, match=message):
        read_metrics(path)


def test_a_value_that_is_undefined_is_no_error(made_up: ModuleType, tmp_path: Path) -> None:
    rows = made_up.metric_rows()[:1]
    rows[0] |= {"value": "", "low": "", "high": "", "n": 0, "interval": "none"}
    table = read_metrics(made_up.write_metrics(tmp_path / "metrics.csv", rows))
    assert table[["value", "low", "high"]].isna().all(axis=None)


def test_points_of_curves_are_no_attacks_of_the_grid(made_up: ModuleType, tmp_path: Path) -> None:
    metrics = read_metrics(
        made_up.write_metrics(tmp_path / "m.csv", made_up.metric_rows(suite=True))
    )
    assert grid_of(metrics).attacks == (*made_up.ATTACKS, *made_up.SUITE)
    assert curves_of(metrics) == ["pixels", "words"]
    for curve, (attack, over, budgets) in made_up.CURVES.items():
        end = "_255" if over == "eps" else ""
        points = [f"{attack}_{over}_{budget}{end}" for budget in budgets]
        assert list(of_curve(metrics, curve)["attack"].unique()) == points
        rows = select(metrics, metric="recall_at_k", protocol="own_pair", curve=curve)
        assert list(rows["attack"].unique()) == points
    chosen = select(metrics, metric="recall_at_k", protocol="own_pair")
    assert set(chosen["attack"]) == {*made_up.ATTACKS, *made_up.SUITE}


def test_attacks_under_another_protocol_alone_are_not_missing(
    made_up: ModuleType, tmp_path: Path
) -> None:
    metrics = read_metrics(
        made_up.write_metrics(tmp_path / "m.csv", made_up.metric_rows(suite=True))
    )
    grid = grid_of(metrics, attacks=["clean", "square", "sga", "strongest", "never_run"])
    assert within_protocol(metrics, grid, "full_gallery").attacks == ("clean", "sga", "never_run")
    assert within_protocol(metrics, grid, "own_pair") == grid


def test_the_strongest_attack_is_one_that_is_run_on_every_defence(
    made_up: ModuleType, tmp_path: Path
) -> None:
    """Recall under `sga` is lowest on the undefended model, and it is run on that alone."""
    rows = made_up.metric_rows()
    rows = [row for row in rows if row["attack"] != "sga" or row["defence"] == "standard"]
    metrics = read_metrics(made_up.write_metrics(tmp_path / "m.csv", rows))
    assert strongest_attack(metrics, grid_of(metrics)) == "sga"
    grid = grid_of(metrics, only={"sga": ["standard"]})
    assert strongest_attack(metrics, grid) == "pgd"
    assert grid.on_all(grid.attacks) == ["clean", "pgd", "word_substitution"]
    alone = grid_of(metrics, defences=["standard"], only={"sga": ["standard"]})
    assert strongest_attack(metrics, alone) == "sga"
    nothing = grid_of(metrics, only={name: ["standard"] for name in grid.attacks})
    assert strongest_attack(metrics, nothing) is None


def test_a_measure_that_stands_twice_is_refused(made_up: ModuleType, tmp_path: Path) -> None:
    rows = made_up.metric_rows()[:3]
    path = made_up.write_metrics(tmp_path / "metrics.csv", [*rows, rows[0]])
    with pytest.raises(UserError, match=r"line 5: the same measure of the same cell stands twice"):
        read_metrics(path)
