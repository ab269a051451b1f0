"""What every defence keeps in the worst case over several attacks."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mmrobust.figures.table import grid_of, read_metrics
from mmrobust.figures.worst_case import plot_worst_case


@pytest.fixture(scope="module")
def suite(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("worst") / "metrics.csv"
    return read_metrics(
        made_up.write_metrics(path, made_up.metric_rows(suite=True, seeds=(0, 1, 2)))
    )


def means(figure: Figure, panel: int) -> dict[str, float]:
    lines = [line for line in figure.axes[panel].lines if "/" in str(line.get_gid())]
    return {str(line.get_gid()): float(np.asarray(line.get_xdata())[0]) for line in lines}


def said(figure: Figure) -> str:
    found = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    return " ".join(" ".join(text.get_text() for text in found).split())


def test_every_mark_is_the_mean_of_the_table(suite: pd.DataFrame) -> None:
    figure = plot_worst_case(suite, title="scenes")
    rows = suite.query(
        "metric == 'recall_at_k' and k == 1 and protocol == 'own_pair' and labels == 'one_image' "
        "and curve == '' and attack in ['clean', 'strongest']"
    )
    for panel, direction in enumerate(("i2t", "t2i")):
        expected = rows[rows["direction"] == direction].groupby(["defence", "attack"])["value"]
        assert means(figure, panel) == {
            f"{direction}/{defence}/{attack}": pytest.approx(100 * value)
            for (defence, attack), value in expected.mean().items()
        }
        assert len(means(figure, panel)) == 2 * suite["defence"].nunique()
    assert "recall at 1 in the worst case" in said(figure)
    assert "only the query's own image and captions attacked" in said(figure)
    assert "strongest: white box, 2/255, 2 words, 200 images · clean is of all" in said(figure)
    assert "not run on" not in said(figure)
    assert "may become false" not in said(figure)


def test_captions_that_may_become_false_are_told(suite: pd.DataFrame) -> None:
    figure = plot_worst_case(suite.assign(keeps_truth="False"))
    assert "2 words, 200 images, captions may become false" in said(figure)


def test_a_worst_case_of_one_direction_is_not_missing_in_the_other(suite: pd.DataFrame) -> None:
    of = suite["attack"] == "strongest"
    one_way = suite[~of | (suite["direction"] == "i2t")]
    one_way = one_way.assign(worst_case=one_way["worst_case"].replace("both", "i2t"))
    figure = plot_worst_case(one_way, grid=grid_of(suite))
    assert any(name.endswith("/strongest") for name in means(figure, 0))
    assert {name.rpartition("/")[2] for name in means(figure, 1)} == {"clean"}
    assert "missing" not in said(figure)
    assert "200 images, i2t queries" in said(figure)


def test_what_should_be_there_is_told_as_missing(suite: pd.DataFrame) -> None:
    gone = (suite["attack"] == "strongest") & (suite["defence"] == "mat")
    figure = plot_worst_case(suite[~gone], grid=grid_of(suite))
    assert said(figure).count("missing: strongest") == 2


def test_defences_without_a_worst_case_have_no_row(suite: pd.DataFrame) -> None:
    grid = grid_of(suite, only={"strongest": ("standard", "mat")})
    gone = (suite["attack"] == "strongest") & (suite["defence"] == "tecoa")
    figure = plot_worst_case(suite[~gone], grid=grid)
    rows = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert rows == ["standard", "MAT"]
    assert "not run on: TeCoA" in said(figure)
    alone = grid_of(suite, defences=["tecoa"], only={"strongest": ("standard", "mat")})
    assert "no worst case over several attacks" in said(plot_worst_case(suite, grid=alone))


def test_a_study_without_ensembles_says_so(suite: pd.DataFrame) -> None:
    figure = plot_worst_case(suite[suite["worst_case"] == ""])
    assert said(figure).count("no worst case over several attacks") == 3
    assert not figure.legends
    assert "no results yet" in said(plot_worst_case(suite.iloc[:0]))
