"""The ledger end to end: made-up cells on disk, the verb's function, the CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrobust.claims import ledger as ledger_module
from mmrobust.claims.ledger import COLUMNS, judge_claims
from mmrobust.claims.statistics import Statistic
from mmrobust.errors import UserError
from mmrobust.intervals import Resampling

LEDGER = Path(__file__).parents[2] / "config" / "claims.yaml"
DIFFERENCE = "mat_beats_image_adversarial_training"
DROP = "undefended_collapses"

Write = Callable[..., None]


def judged(
    cells: Path,
    *claims: str,
    seeds: Sequence[int] = (0,),
    study: str = "made_up",
    ledger: Path = LEDGER,
    defences: Sequence[str] = ("standard", "tecoa", "mat"),
    attacks: Sequence[str] = ("pgd", "sga"),
    only: Mapping[str, Sequence[str]] | None = None,
    n_resamples: int = 500,
) -> list[dict[str, str]]:
    cfg = {
        "study": study,
        "defences": list(defences),
        "attacks": list(attacks),
        "only": only or {},
        "seeds": list(seeds),
        "claims": list(claims),
        "evaluation": {"gallery_images": [200], "n_resamples": n_resamples, "confidence": 0.95},
    }
    out = cells.parent / "claims.csv"
    judge_claims(cfg, claims=ledger, cells=cells, out=out)
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert all(tuple(row) == COLUMNS for row in rows)
    return rows


@pytest.mark.parametrize(
    ("mat", "tecoa", "expected"),
    [
        (90, 50, "reproduced"),
        (50, 90, "contradicted"),
        (51, 50, "inconclusive"),
        (50, 50, "inconclusive"),
    ],
)
def test_difference(
    tmp_path: Path, write_made_up_cell: Write, mat: int, tecoa: int, expected: str
) -> None:
    write_made_up_cell(tmp_path / "cells", defence="mat", attack="sga", correct=mat)
    write_made_up_cell(tmp_path / "cells", defence="tecoa", attack="sga", correct=tecoa)
    (row,) = judged(tmp_path / "cells", DIFFERENCE)
    assert row["verdict"] == expected
    assert float(row["estimate"]) == pytest.approx((mat - tecoa) / 200)
    assert float(row["low"]) <= float(row["estimate"]) <= float(row["high"])
    assert (row["n"], row["seeds"], row["confidence"], row["margin"]) == ("200", "0", "0.95", "0.0")
    assert row["statistic"] == (
        "difference of i2t recall at 1 (full_gallery, one_image): mat under sga - tecoa under sga"
    )
    assert "one training seed" in row["note"]


def ledger_with(path: Path, **changes: object) -> Path:
    """The project's ledger with every claim's statistic changed."""
    document = yaml.safe_load(LEDGER.read_text(encoding="utf-8"))
    for claim in document["claims"]:
        claim["statistic"] |= changes
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_the_main_gallery_size_is_judged_unless_one_is_named(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    root = tmp_path / "cells"
    # MAT leads in the main galleries and lags in the small ones.
    write_made_up_cell(root, defence="mat", attack="sga", correct=90, correct_in={20: 100})
    write_made_up_cell(root, defence="tecoa", attack="sga", correct=50, correct_in={20: 180})
    (row,) = judged(root, DIFFERENCE)
    assert (row["verdict"], row["n"]) == ("reproduced", "200")
    assert float(row["estimate"]) == pytest.approx(0.2)
    assert "galleries" not in row["statistic"]
    (row,) = judged(
        root, DIFFERENCE, ledger=ledger_with(tmp_path / "small.yaml", gallery_images=20)
    )
    assert (row["verdict"], row["n"]) == ("contradicted", "200")
    assert float(row["estimate"]) == pytest.approx(-0.4)
    assert "(full_gallery, one_image, galleries of 20 images)" in row["statistic"]


def test_further_gallery_sizes_do_not_change_a_verdict_s_numbers(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    for name, correct_in in (("one", {}), ("two", {20: 150})):
        for defence, correct in (("mat", 90), ("tecoa", 50)):
            write_made_up_cell(
                tmp_path / name / "cells",
                defence=defence,
                attack="sga",
                correct=correct,
                correct_in=correct_in,
            )
    assert judged(tmp_path / "one" / "cells", DIFFERENCE) == judged(
        tmp_path / "two" / "cells", DIFFERENCE
    )


def test_a_gallery_size_that_cells_lack_is_refused(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    root = tmp_path / "cells"
    for defence in ("mat", "tecoa"):
        write_made_up_cell(root, defence=defence, attack="sga", correct=90, correct_in={20: 90})
    ledger = ledger_with(tmp_path / "other.yaml", gallery_images=40)
    with pytest.raises(UserError, match=r"no galleries of 40 images \(allowed: 200, 20\)"):
        judged(root, DIFFERENCE, ledger=ledger)


@pytest.mark.parametrize(
    ("clean", "attacked", "expected"),
    [
        (120, 6, "reproduced"),
        (120, 0, "reproduced"),
        (120, 80, "contradicted"),
        (120, 30, "inconclusive"),
        (3, 0, "inconclusive"),
    ],
)
def test_relative_drop(
    tmp_path: Path, write_made_up_cell: Write, clean: int, attacked: int, expected: str
) -> None:
    write_made_up_cell(tmp_path / "cells", defence="standard", attack="clean", correct=clean)
    write_made_up_cell(tmp_path / "cells", defence="standard", attack="sga", correct=attacked)
    (row,) = judged(tmp_path / "cells", DROP)
    assert row["verdict"] == expected
    assert float(row["estimate"]) == pytest.approx(1 - attacked / clean)
    assert "the margin is ours" in row["note"]


def test_drop_from_nothing_is_undefined(tmp_path: Path, write_made_up_cell: Write) -> None:
    write_made_up_cell(tmp_path / "cells", defence="standard", attack="clean", correct=0)
    write_made_up_cell(tmp_path / "cells", defence="standard", attack="sga", correct=0)
    (row,) = judged(tmp_path / "cells", DROP)
    assert row["verdict"] == "inconclusive"
    assert row["estimate"] == row["low"] == row["high"] == ""
    assert "the clean recall of a seed is 0" in row["note"]


def test_seeds_are_averaged_and_their_spread_is_told(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    root = tmp_path / "cells"
    for seed, mat in ((3, 90), (5, 70)):
        write_made_up_cell(root, defence="mat", attack="sga", correct=mat, seed=seed)
        write_made_up_cell(root, defence="tecoa", attack="sga", correct=50, seed=seed)
    (row,) = judged(root, DIFFERENCE, seeds=[3, 5])
    assert float(row["estimate"]) == pytest.approx(0.15)
    assert row["seeds"] == "3 5"
    assert "3: 0.200, 5: 0.100 (spread 0.100" in row["note"]
    assert "by the seeds alone, Student's t: [-0.485, 0.785]" in row["note"]
    assert row["verdict"] == "reproduced"


def test_missing_cells_are_a_verdict_and_no_error(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    root = tmp_path / "cells"
    write_made_up_cell(root, defence="mat", attack="sga", correct=90, seed=0)
    write_made_up_cell(root, defence="tecoa", attack="sga", correct=90, seed=0)
    rows = judged(root, DROP, DIFFERENCE, seeds=[0, 1])
    assert [row["id"] for row in rows] == [DROP, DIFFERENCE]
    assert [row["verdict"] for row in rows] == ["missing", "missing"]
    assert "missing cells: mat/seed1/sga, tecoa/seed1/sga" in rows[1]["note"]
    assert rows[1]["estimate"] == rows[1]["low"] == rows[1]["n"] == ""


def test_a_mean_over_defences_needs_the_cells_of_each(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    root, side = tmp_path / "cells", {"defence": ["mat", "standard"], "attack": "sga"}
    document = yaml.safe_load(LEDGER.read_text(encoding="utf-8"))
    document["claims"][0]["statistic"]["a"] = side
    ledger = tmp_path / "mean.yaml"
    ledger.write_text(yaml.safe_dump(document), encoding="utf-8")
    for defence, correct in (("mat", 100), ("tecoa", 50)):
        write_made_up_cell(root, defence=defence, attack="sga", correct=correct)
    (row,) = judged(root, DIFFERENCE, ledger=ledger)
    assert row["verdict"] == "missing"
    assert row["note"].endswith("missing cells: standard/seed0/sga")
    write_made_up_cell(root, defence="standard", attack="sga", correct=60)
    (row,) = judged(root, DIFFERENCE, ledger=ledger, defences=["mat", "tecoa"])
    assert row["verdict"] == "missing"
    (row,) = judged(root, DIFFERENCE, ledger=ledger)
    assert (row["verdict"], float(row["estimate"])) == ("reproduced", pytest.approx(0.15))
    assert row["statistic"].endswith("mean of mat, standard under sga - tecoa under sga")


@pytest.mark.parametrize(
    ("of_study", "named"),
    [
        ({"attacks": ["pgd"]}, "mat/seed0/sga, tecoa/seed0/sga"),
        ({"defences": ["standard", "tecoa"]}, "mat/seed0/sga"),
        ({"seeds": [1]}, "mat/seed1/sga, tecoa/seed1/sga"),
        ({"only": {"sga": ["tecoa"]}}, "mat/seed0/sga"),
    ],
)
def test_cells_left_from_an_earlier_form_of_the_study_are_missing(
    tmp_path: Path, write_made_up_cell: Write, of_study: dict[str, Any], named: str
) -> None:
    root = tmp_path / "cells"
    for defence, correct in (("mat", 90), ("tecoa", 50)):
        write_made_up_cell(root, defence=defence, attack="sga", correct=correct)
    assert judged(root, DIFFERENCE)[0]["verdict"] == "reproduced"
    (row,) = judged(root, DIFFERENCE, **of_study)
    assert (row["verdict"], row["estimate"]) == ("missing", "")
    assert row["note"].endswith(f"missing cells: {named}")


def test_clean_belongs_to_every_study(tmp_path: Path, write_made_up_cell: Write) -> None:
    write_made_up_cell(tmp_path / "cells", defence="standard", attack="clean", correct=120)
    write_made_up_cell(tmp_path / "cells", defence="standard", attack="sga", correct=6)
    (row,) = judged(tmp_path / "cells", DROP, attacks=["sga"])
    assert row["verdict"] == "reproduced"


@pytest.mark.parametrize(
    ("resolution", "said"),
    [
        (None, None),
        ("128x128", "photographs at 128x128 pixels"),
        ("varying", "photographs of varying size"),
    ],
)
def test_photographs_are_named_with_their_size(
    tmp_path: Path, write_made_up_cell: Write, resolution: str | None, said: str | None
) -> None:
    for defence, correct in (("mat", 90), ("tecoa", 50)):
        write_made_up_cell(
            tmp_path / "cells",
            defence=defence,
            attack="sga",
            correct=correct,
            source_resolution=resolution,
        )
    (row,) = judged(tmp_path / "cells", DIFFERENCE)
    assert (said or "one training seed") in row["note"]
    assert ("photographs" in row["note"]) is (said is not None)


def test_a_drop_without_a_lower_bound_is_told(tmp_path: Path, write_made_up_cell: Write) -> None:
    root = tmp_path / "cells"
    # one caption of a thousand is found: less than one of 200 images, which may be none
    for attack, right in (("clean", 1), ("sga", 0)):
        write_made_up_cell(
            root, defence="standard", attack=attack, correct=90, captions_right=right
        )
    (row,) = judged(root, DROP, ledger=ledger_with(tmp_path / "t2i.yaml", direction="t2i"))
    assert (row["verdict"], row["low"], row["n"]) == ("inconclusive", "-inf", "1000")
    assert float(row["estimate"]) == float(row["high"]) == 1.0
    assert "no lower bound: the clean recall can't be told from 0" in row["note"]


def test_a_world_chosen_for_the_effect_is_said_so_where_it_was(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    for study, told in (("scenes", True), ("flickr8k", False)):
        root = tmp_path / study / "cells"
        for defence, correct in (("mat", 90), ("tecoa", 50)):
            write_made_up_cell(root, defence=defence, attack="sga", correct=correct, study=study)
        (row,) = judged(root, DIFFERENCE, study=study)
        assert ("chosen on dev scenes" in row["note"]) is told


def test_no_claims_give_an_empty_ledger(tmp_path: Path) -> None:
    assert judged(tmp_path / "cells") == []
    assert (tmp_path / "claims.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_bytes_are_the_same_twice(tmp_path: Path, write_made_up_cell: Write) -> None:
    for defence, correct in (("mat", 90), ("tecoa", 50)):
        write_made_up_cell(tmp_path / "cells", defence=defence, attack="sga", correct=correct)
    found = []
    for _ in range(2):
        judged(tmp_path / "cells", DIFFERENCE)
        found.append((tmp_path / "claims.csv").read_bytes())
    assert found[0] == found[1]


def test_cells_of_other_queries_are_refused(tmp_path: Path, write_made_up_cell: Write) -> None:
    root = tmp_path / "cells"
    write_made_up_cell(root, defence="mat", attack="sga", correct=90)
    write_made_up_cell(root, defence="tecoa", attack="sga", correct=50, shift=1)
    with pytest.raises(UserError, match="mat/seed0/sga and tecoa/seed0/sga are not about the same"):
        judged(root, DIFFERENCE)
    assert not (tmp_path / "claims.csv").exists()


def test_a_claim_compares_the_items_that_all_cells_attack(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    """Of the fifty and the eighty attacked images thirty are the same."""
    root = tmp_path / "cells"
    write_made_up_cell(root, defence="mat", attack="sga", correct=200, items=range(50))
    write_made_up_cell(root, defence="tecoa", attack="sga", correct=0, items=range(20, 100))
    ledger = ledger_with(tmp_path / "own.yaml", protocol="own_pair")
    (row,) = judged(root, DIFFERENCE, ledger=ledger)
    assert (row["verdict"], row["n"], row["estimate"]) == ("reproduced", "30", "1.0")
    assert "on the 30 of 200 images that all cells attack" in row["note"]
    # Bounds are those of thirty images: rows of images that aren't there count for nothing.
    assert float(row["low"]) == pytest.approx(2 * 0.0125 ** (1 / 30) - 1)


def test_a_drop_is_from_the_clean_recall_of_the_attacked_items(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    root = tmp_path / "cells"
    write_made_up_cell(root, defence="standard", attack="clean", correct=200)
    write_made_up_cell(root, defence="standard", attack="sga", correct=0, items=range(40))
    ledger = ledger_with(tmp_path / "own.yaml", protocol="own_pair")
    (row,) = judged(root, DROP, ledger=ledger)
    assert (row["verdict"], row["n"], row["estimate"]) == ("reproduced", "40", "1.0")


def test_cells_without_a_common_item_are_refused(tmp_path: Path, write_made_up_cell: Write) -> None:
    root = tmp_path / "cells"
    write_made_up_cell(root, defence="mat", attack="sga", correct=90, items=range(50))
    write_made_up_cell(root, defence="tecoa", attack="sga", correct=50, items=range(50, 60))
    ledger = ledger_with(tmp_path / "own.yaml", protocol="own_pair")
    with pytest.raises(UserError, match="can't be paired"):
        judged(root, DIFFERENCE, ledger=ledger)


def test_a_protocol_that_a_cell_lacks_is_refused(tmp_path: Path, write_made_up_cell: Write) -> None:
    root = tmp_path / "cells"
    write_made_up_cell(root, defence="mat", attack="sga", correct=90)
    write_made_up_cell(root, defence="tecoa", attack="sga", correct=50, items=range(200))
    told = r"tecoa/seed0/sga has no outcomes under full_gallery \(allowed: own_pair\)"
    with pytest.raises(UserError, match=told):
        judged(root, DIFFERENCE)
    ledger = ledger_with(tmp_path / "own.yaml", protocol="own_pair")
    (row,) = judged(root, DIFFERENCE, ledger=ledger)
    assert (row["verdict"], row["n"]) == ("reproduced", "200")
    assert "images that all cells attack" not in row["note"]


def test_cells_of_another_study_are_refused(tmp_path: Path, write_made_up_cell: Write) -> None:
    root = tmp_path / "cells"
    for defence in ("mat", "tecoa"):
        write_made_up_cell(root, defence=defence, attack="sga", correct=90)
    with pytest.raises(UserError, match="a cell of study 'made_up', not of 'scenes'"):
        judged(root, DIFFERENCE, study="scenes")


def test_unknown_claims_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"did you mean '{DROP}'"):
        judged(tmp_path / "cells", "undefended_colapses")


def test_verdicts_are_corrected_for_the_number_of_claims(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    """Four queries won and none lost: none is drawn in 1.8 % of resamples, between the tails."""
    cells = tmp_path / "cells"
    write_made_up_cell(cells, defence="mat", attack="sga", correct=54)
    write_made_up_cell(cells, defence="tecoa", attack="sga", correct=50)
    write_made_up_cell(cells, defence="standard", attack="clean", correct=120)
    write_made_up_cell(cells, defence="standard", attack="sga", correct=30)
    (alone,) = judged(cells, DIFFERENCE)
    assert alone["verdict"] == "reproduced"
    assert float(alone["verdict_confidence"]) == pytest.approx(0.95)
    corrected, other = judged(cells, DIFFERENCE, DROP)
    assert other["verdict"] == "inconclusive"
    assert corrected["verdict"] == "inconclusive"
    assert float(corrected["verdict_confidence"]) == pytest.approx(0.975)
    assert "reproduced by itself at 0.95, but not at the 0.975" in corrected["note"]
    assert float(corrected["low"]) > 0  # the interval itself is not widened
    assert corrected["low"] == alone["low"]


def test_seeds_that_disagree_leave_a_claim_open(tmp_path: Path, write_made_up_cell: Write) -> None:
    cells = tmp_path / "cells"
    # Of two or three seeds the worst alone is drawn often enough for the interval to hold it.
    for seed, mat in enumerate((100, 100, 100, 100, 49)):
        write_made_up_cell(cells, defence="mat", attack="sga", seed=seed, correct=mat)
        write_made_up_cell(cells, defence="tecoa", attack="sga", seed=seed, correct=50)
    (row,) = judged(cells, DIFFERENCE, seeds=range(5))
    assert float(row["low"]) > 0
    assert row["verdict"] == "inconclusive"
    assert "inconclusive as the training seeds don't agree" in row["note"]


def test_a_drop_is_undefined_where_one_of_the_seeds_has_nothing_to_lose(
    tmp_path: Path, write_made_up_cell: Write
) -> None:
    root = tmp_path / "cells"
    for seed, clean in enumerate((120, 0)):
        write_made_up_cell(root, defence="standard", attack="clean", correct=clean, seed=seed)
        write_made_up_cell(root, defence="standard", attack="sga", correct=0, seed=seed)
    (row,) = judged(root, DROP, seeds=[0, 1])
    assert (row["verdict"], row["n"]) == ("inconclusive", "200")
    assert row["estimate"] == row["low"] == row["high"] == ""
    assert "the clean recall of a seed is 0" in row["note"]


def test_bounds_far_out_are_drawn_from_more_resamples(
    tmp_path: Path, write_made_up_cell: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty lie beyond both bounds together, and as many are drawn as the study asks for."""
    root = tmp_path / "cells"
    for defence, correct in (("mat", 51), ("tecoa", 50), ("standard", 60)):
        write_made_up_cell(root, defence=defence, attack="sga", correct=correct)
    write_made_up_cell(root, defence="standard", attack="clean", correct=120)
    drawn: dict[float, int] = {}
    estimate = ledger_module.estimate

    def noting(statistic: Statistic, cells: Any, resampling: Resampling) -> Any:
        drawn[round(resampling.confidence, 6)] = resampling.n_resamples
        return estimate(statistic, cells, resampling)

    monkeypatch.setattr(ledger_module, "estimate", noting)
    for asked, expected in ((500, {0.95: 800, 0.975: 1600}), (1000, {0.95: 1000, 0.975: 1600})):
        drawn.clear()
        judged(root, DIFFERENCE, DROP, n_resamples=asked)
        assert drawn == expected
