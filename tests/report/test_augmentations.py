from __future__ import annotations

from pathlib import Path

import pytest

from mmrobust.errors import UserError
from mmrobust.report.augmentations import Estimate, read_augmentations, read_estimates

HEADER = "study,augmentation,method,n,modality,measure,value,low,high,items,confidence\n"


def table(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "augmentations.csv"
    path.write_text(HEADER + "".join(f"s,{row},0,1,9,0.95\n" for row in rows))
    return path


def test_a_set_is_told_with_all_its_augmentations(tmp_path: Path) -> None:
    rows = read_augmentations(
        table(
            tmp_path,
            "a,eda,1,caption,alignment,0.5",
            "a,eda,1,caption,distinct_1,0.9",
            "a,eda,4,caption,alignment,0.25",
            "a,eda,4,caption,true_share,",
            "b,randaugment,1,image,alignment,0.75",
        )
    )
    assert [(row.name, row.method, row.modality, row.n) for row in rows] == [
        ("a", "eda", "caption", 4),
        ("b", "randaugment", "image", 1),
    ]
    assert [row.an_item for row in rows] == ["4 captions", "1 picture"]
    assert rows[0].measures == {"alignment": 0.25, "true_share": None}
    assert rows[0].of("alignment") == 0.25
    assert rows[1].of("distinct_1") is None


def test_without_a_table_there_are_none(tmp_path: Path) -> None:
    assert read_augmentations(tmp_path / "augmentations.csv") == []


def test_what_is_no_number_is_told_with_its_line(tmp_path: Path) -> None:
    path = table(tmp_path, "a,eda,1,caption,alignment,0.5", "a,eda,1,caption,mmd2,much")
    with pytest.raises(UserError, match=r"augmentations\.csv: line 3: .*'much'"):
        read_augmentations(path)
    with pytest.raises(UserError, match=r"augmentations\.csv: line 3: .*'much'"):
        read_estimates(path)


def test_measures_are_read_with_intervals_at_every_number(tmp_path: Path) -> None:
    path = table(tmp_path, "a,eda,1,caption,alignment,0.5", "a,eda,4,caption,true_share,")
    assert read_estimates(path) == {
        ("a", 1, "alignment"): Estimate(value=0.5, low=0.0, high=1.0, items=9),
        ("a", 4, "true_share"): Estimate(value=None, low=0.0, high=1.0, items=9),
    }
