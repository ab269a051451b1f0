"""Every flag on models that hide their gradients, on one that doesn't, and on made-up cells."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrobust.attacks.base import Attack
from mmrobust.attacks.fgsm import FGSM
from mmrobust.attacks.pgd import PGD
from mmrobust.attacks.square import Square
from mmrobust.attacks.text_search.base import Language
from mmrobust.config import EvaluationConfig
from mmrobust.data.prepared import Split
from mmrobust.evaluation.cells import Cell, Origin, build_cell, gallery_counts
from mmrobust.evaluation.crafting import UNKNOWN, craft
from mmrobust.evaluation.flags import flag_cells
from mmrobust.evaluation.retrieval import of_items, split_ranks
from mmrobust.evaluation.subject import Subject
from mmrobust.threat import ImageBudget, ThreatModel

ORIGIN = Origin(
    study="made_up",
    dataset="scenes",
    split="test",
    source_resolution=None,
    defence="mat",
    seed=3,
)
ITEMS, SIDE = 30, 6
PERIOD = 16 / 255


class Toy(nn.Module):
    """Images through one linear map; caption i is where the clean image i is mapped to."""

    def __init__(self, split_images: np.ndarray, *, seed: int = 0, scale: float = 10.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(24, 3 * SIDE * SIDE, generator=generator))
        self._scale = scale
        pixels = torch.from_numpy(split_images.transpose(0, 3, 1, 2).copy()).float() / 255
        with torch.no_grad():
            self.texts = self.encode_image(pixels)

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def scale(self) -> Tensor:
        return torch.tensor(self._scale)

    def see(self, images: Tensor) -> Tensor:
        return images - 0.5

    def encode_image(self, images: Tensor) -> Tensor:
        return F.normalize(self.see(images).flatten(1) @ self.weight.T, dim=-1)

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        return torch.tensor([[1 + int(caption.removeprefix("picture "))] for caption in captions])

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        return self.texts[tokens[:, 0] - 1]


class Quantised(Toy):
    """Pixels are rounded to five levels inside the model."""

    def see(self, images: Tensor) -> Tensor:
        return (4 * images).round() / 4 - 0.5


class Detached(Toy):
    """Image features are cut off from the gradient."""

    def encode_image(self, images: Tensor) -> Tensor:
        return super().encode_image(images).detach()


class Wavy(Toy):
    """Features are periodic in the pixels: a change by half a period undoes itself by a whole."""

    def see(self, images: Tensor) -> Tensor:
        return (2 * torch.pi / PERIOD * images).sin()


@pytest.fixture(scope="module")
def split() -> Split:
    pixels = np.random.default_rng(0).integers(64, 192, (ITEMS, SIDE, SIDE, 3), dtype=np.uint8)
    return Split(
        images=pixels,
        captions=[f"picture {item}" for item in range(ITEMS)],
        caption_image=np.arange(ITEMS),
        positives=sp.csr_array(np.eye(ITEMS, dtype=np.bool_)),
    )


Entry = tuple[Attack, ThreatModel, str | None]


def threat(eps: float, **knowledge: Any) -> ThreatModel:
    return ThreatModel(image=ImageBudget(eps=eps / 255), **knowledge)


def evaluated(
    split: Split, model: Toy, attacks: Mapping[str, Entry], *, source: Toy | None = None
) -> dict[str, Cell]:
    """Cells of a model under attacks that are really run, flagged."""
    target = Subject(model, split, ITEMS)  # type: ignore[arg-type]

    def cell(name: str, outcomes: pd.DataFrame, **about: Any) -> Cell:
        return build_cell(
            ORIGIN,
            attack=name,
            counts=gallery_counts(target.embeddings(), gallery_images=[ITEMS]),
            outcomes=outcomes.assign(caption_true=np.int8(UNKNOWN)),
            clean_outcomes=cells["clean"].outcomes if name != "clean" else None,
            config=EvaluationConfig(gallery_images=(1,), ks=(1,), n_resamples=20),
            **about,
        )

    cells: dict[str, Cell] = {}
    clean = split_ranks(target.embeddings(), gallery_images=[ITEMS])
    nothing = {"attack_config": {}, "threat_model": None, "curve": None, "checks": {}}
    cells["clean"] = cell("clean", clean, **nothing)
    for name, (attack, threat_model, curve) in attacks.items():
        crafted = craft(
            target if threat_model.source is None else Subject(source, split, ITEMS),  # type: ignore[arg-type]
            target,
            attack,
            threat_model,
            Language(),
            items=range(ITEMS),
            keep=[],
            name=name,
            seed=0,
            batch_images=11,
        )
        cells[name] = cell(
            name,
            split_ranks(crafted.embeddings(target), gallery_images=[ITEMS]),
            attack_config={"method": type(attack).__name__, **asdict(attack)},
            threat_model={"name": name, **asdict(threat_model)},
            curve=curve,
            checks=crafted.checks(),
        )
    return flag_cells(cells)


def recall(cell: Cell) -> float:
    (row,) = (
        row
        for row in cell.record["metrics"]
        if (row["metric"], row["protocol"], row["direction"], row["labels"])
        == ("recall_at_k", "own_pair", "i2t", "one_image")
    )
    return float(row["value"])


def raised(cells: Mapping[str, Cell]) -> set[tuple[str, str, str | None]]:
    """Attack, flag and what it was compared with, of the flags that are raised."""
    return {
        (name, flag["flag"], flag["against"])
        for name, cell in cells.items()
        for flag in cell.record["flags"]
        if flag["raised"]
    }


GRADIENTS = PGD(step_size=4 / 255, objective="contrastive")


def usual(eps: float = 24) -> dict[str, Entry]:
    """An attack by gradients, one by queries, one from another model, and a curve."""
    return {
        "pgd": (GRADIENTS, threat(eps), None),
        "square": (Square(queries=200), threat(eps, knowledge="query"), None),
        "from_twin": (GRADIENTS, threat(eps, knowledge="transfer", source="twin"), None),
        **{f"pgd_{point}": (GRADIENTS, threat(point), "eps") for point in (2, 4, 64)},
    }


def test_an_ordinary_model_raises_none(split: Split) -> None:
    cells = evaluated(split, Toy(split.images), usual(16), source=Toy(split.images, seed=1))
    assert recall(cells["clean"]) == 1.0
    assert recall(cells["pgd"]) < 0.2 < recall(cells["square"]) < 0.6
    assert raised(cells) == set()
    found = {name: [flag["flag"] for flag in c.record["flags"]] for name, c in cells.items()}
    assert found == {
        "clean": [],
        "pgd": ["zero_gradients", "query_beats_gradients", "transfer_beats_white_box"],
        "square": [],
        "from_twin": ["zero_gradients"],
        "pgd_2": ["zero_gradients"],
        "pgd_4": ["zero_gradients", "recall_rises_with_eps"],
        "pgd_64": ["zero_gradients", "recall_survives_large_eps", "recall_rises_with_eps"],
    }


def test_a_model_that_rounds_its_input(split: Split) -> None:
    """Gradients through rounding are zero; a query attack walks over the steps."""
    cells = evaluated(split, Quantised(split.images), usual(), source=Toy(split.images, seed=1))
    assert recall(cells["square"]) < recall(cells["pgd"]) - 0.3
    assert cells["pgd"].record["checks"]["zero_gradients"] == 1.0
    found = raised(cells)
    assert ("pgd", "zero_gradients", None) in found
    assert ("pgd", "query_beats_gradients", "square") in found
    assert ("from_twin", "zero_gradients", None) not in found


def test_a_model_whose_features_are_detached(split: Split) -> None:
    """An undefended twin of the same weights gives the gradients that it hides."""
    cells = evaluated(split, Detached(split.images), usual(), source=Toy(split.images))
    assert recall(cells["from_twin"]) < 0.2 < 0.9 < recall(cells["pgd"])
    assert raised(cells) >= {
        ("pgd", "zero_gradients", None),
        ("pgd", "transfer_beats_white_box", "from_twin"),
    }
    (flag,) = (
        flag for flag in cells["pgd"].record["flags"] if flag["flag"] == "transfer_beats_white_box"
    )
    assert flag["value"] == recall(cells["from_twin"]) - recall(cells["pgd"])
    assert flag["low"] <= flag["value"] <= flag["high"] < 0
    assert flag["n"] == ITEMS


def test_a_transfer_from_the_model_itself_is_not_raised(split: Split) -> None:
    model = Toy(split.images)
    cells = evaluated(split, model, usual(), source=model)
    flags = {flag["flag"]: flag for flag in cells["pgd"].record["flags"]}
    assert flags["transfer_beats_white_box"]["value"] == pytest.approx(0, abs=0.2)
    assert not flags["transfer_beats_white_box"]["raised"]


def test_a_model_whose_logits_saturate(split: Split) -> None:
    """Softmax leaves no gradient where an item is answered rightly; the margin does."""
    attacks = {
        **usual(),
        "margin": (PGD(step_size=4 / 255, objective="soft_margin"), threat(24), None),
    }
    saturated = Toy(split.images, scale=1e5)
    cells = evaluated(split, saturated, attacks, source=Toy(split.images, seed=1))
    assert recall(cells["margin"]) < 0.2 < 0.8 < recall(cells["pgd"])
    found = raised(cells)
    assert ("pgd", "zero_gradients", None) in found
    assert ("margin", "zero_gradients", None) not in found


def test_recall_that_survives_or_rises_along_a_curve(split: Split) -> None:
    grey = PERIOD * 255
    attacks: dict[str, Entry] = {
        f"fgsm_{eps:.0f}": (FGSM(), threat(eps), "eps") for eps in (0, grey / 2, grey)
    }
    cells = evaluated(split, Wavy(split.images), attacks)
    assert [recall(cells[name]) for name in attacks] == [1.0, 0.0, 1.0]
    assert raised(cells) == {
        ("fgsm_16", "recall_rises_with_eps", "fgsm_8"),
        ("fgsm_16", "recall_survives_large_eps", None),
    }


# Made-up cells: what is compared with what.

Make = Callable[..., Cell]


@pytest.fixture
def make(threat_model: Callable[..., dict[str, Any]]) -> Make:
    """Makes a cell of a hundred images, each with two captions, `correct` of them answered."""

    def made(
        attack: str,
        correct: Sequence[int] = (),
        *,
        items: Sequence[int] | None = None,
        config: Mapping[str, Any] | None = None,
        curve: str | None = None,
        zero: float | None = None,
        **budgets: Any,
    ) -> Cell:
        frames = []
        for protocol in ("full_gallery", "own_pair"):
            for direction, image in (("i2t", range(100)), ("t2i", np.repeat(range(100), 2))):
                for labels in ("one_image", "positives"):
                    told = (protocol, direction, labels) == ("own_pair", "i2t", "one_image")
                    right = np.isin(image, list(correct)) == told
                    columns = {
                        "protocol": protocol,
                        "direction": direction,
                        "labels": labels,
                        "gallery_images": np.int32(100),
                        "gallery": np.int32(0),
                        "query": np.arange(len(image), dtype=np.int32),
                        "image": np.asarray(image, dtype=np.int32),
                        "rank": np.where(right, 1, 2).astype(np.int32),
                        "caption_true": np.int8(-1),
                    }
                    frames.append(pd.DataFrame(columns))
        outcomes = pd.concat(frames, ignore_index=True)
        gallery = {"gallery_images": 100, "galleries": 1, "gallery_captions": 200}
        positives = {"positives_per_query": {"i2t": 2.0, "t2i": 1.0}}
        return build_cell(
            ORIGIN,
            attack=attack,
            attack_config={"method": "pgd"} if config is None else config,
            threat_model=threat_model(**{"text": None, **budgets}),
            curve=curve,
            counts={"images": 100, "captions": 200, "galleries": [gallery | positives]},
            outcomes=outcomes if items is None else of_items(outcomes, items),
            clean_outcomes=None,
            config=EvaluationConfig(gallery_images=(1,), ks=(1,), n_resamples=10),
            checks={"zero_gradients": zero},
        )

    return made


def flags_of(cells: Sequence[Cell], attack: str, flag: str) -> list[dict[str, Any]]:
    named = {cell.record["attack"]: cell for cell in cells}
    return [f for f in flag_cells(named)[attack].record["flags"] if f["flag"] == flag]


WORDS = {"text": {"words": 1, "characters": None, "keeps_truth": False}}
WIDER = {"image": {"norm": "linf", "eps": 4 / 255}}
OTHER_NORM = {"image": {"norm": "l2", "eps": 2 / 255}}


def test_cells_are_left_as_they_are(make: Make) -> None:
    cells = {"pgd": make("pgd", range(50), zero=0.5), "q": make("q", knowledge="query")}
    before = copy.deepcopy({name: cell.record for name, cell in cells.items()})
    flagged = flag_cells(cells)
    assert {name: cell.record for name, cell in cells.items()} == before
    assert list(flagged) == list(cells)
    assert flagged["pgd"].record["flags"]
    assert flagged["pgd"].outcomes is cells["pgd"].outcomes
    assert flag_cells(flagged)["pgd"].record == flagged["pgd"].record


@pytest.mark.parametrize(("share", "is_raised"), [(0.0, False), (0.01, False), (0.011, True)])
def test_threshold_of_zero_gradients(make: Make, share: float, is_raised: bool) -> None:
    (flag,) = flags_of([make("pgd", zero=share, items=range(40))], "pgd", "zero_gradients")
    assert (flag["raised"], flag["value"], flag["n"]) == (is_raised, share, 40)
    assert flag["low"] is flag["high"] is flag["against"] is None


def test_attacks_without_gradients_have_none_to_be_zero(make: Make) -> None:
    assert flags_of([make("q", knowledge="query")], "q", "zero_gradients") == []


@pytest.mark.parametrize(
    ("ours", "theirs", "compared"),
    [
        ({}, {}, True),
        (WIDER, WIDER, True),
        ({}, WIDER, False),
        ({}, OTHER_NORM, False),
        ({}, WORDS, False),
        (WORDS, WORDS, False),
        ({"zero": None}, {}, False),
        ({"knowledge": "transfer", "source": "x"}, {}, False),
        ({}, {"knowledge": "white_box"}, False),
        ({"config": {"ensemble": ["a"]}, "zero": None}, {}, False),
    ],
)
def test_query_attacks_are_compared_under_the_same_image_budget(
    make: Make, ours: dict[str, Any], theirs: dict[str, Any], compared: bool
) -> None:
    cells = [
        make("pgd", range(90), **{"zero": 0.0, **ours}),
        make("square", range(60), **{"knowledge": "query", **theirs}),
    ]
    flags = flags_of(cells, "pgd", "query_beats_gradients")
    assert [(f["raised"], f["against"]) for f in flags] == [(True, "square")] * compared


def test_queries_are_held_against_the_strongest_attack_by_gradients(make: Make) -> None:
    """What a weaker one loses to queries it may lose for its objective or its steps."""
    cells = [
        make("fgsm", range(90), zero=0.0),
        make("apgd", range(40), zero=0.0),
        make("square", range(60), knowledge="query"),
    ]
    assert flags_of(cells, "fgsm", "query_beats_gradients") == []
    (flag,) = flags_of(cells, "apgd", "query_beats_gradients")
    assert (flag["raised"], flag["against"]) == (False, "square")
    # A point of a curve attacks few images: chance must not make it the strongest.
    few = [*cells, make("apgd_eps", range(2), zero=0.0, items=range(10))]
    assert flags_of(few, "apgd_eps", "query_beats_gradients") == []
    assert len(flags_of(few, "apgd", "query_beats_gradients")) == 1


@pytest.mark.parametrize(
    ("ours", "theirs", "compared"),
    [
        ({}, {}, True),
        (WORDS, WORDS, True),
        (WORDS, {}, False),
        (WIDER, {}, False),
        ({}, {"config": {"method": "sga"}}, False),
        ({"config": {"method": "pgd", "steps": 3}}, {"config": {"method": "pgd"}}, False),
        ({"config": {"ensemble": ["a"]}}, {"config": {"ensemble": ["a"]}}, False),
        # a tuple and a list are the same once a cell is built
        (
            {"config": {"method": "sga", "scales": [0.5, 2.0]}},
            {"config": {"method": "sga", "scales": (0.5, 2.0)}},
            True,
        ),
        ({"knowledge": "query"}, {}, False),
    ],
)
def test_transfers_are_compared_with_the_same_method_and_budgets(
    make: Make, ours: dict[str, Any], theirs: dict[str, Any], compared: bool
) -> None:
    cells = [
        make("pgd", range(90), **ours),
        make("far", range(60), **{"knowledge": "transfer", "source": "x", **theirs}),
    ]
    flags = flags_of(cells, "pgd", "transfer_beats_white_box")
    assert [(f["raised"], f["against"]) for f in flags] == [(True, "far")] * compared


@pytest.mark.parametrize(("beaten", "is_raised"), [(90, False), (88, False), (70, True)])
def test_a_difference_must_be_told_from_none(make: Make, beaten: int, is_raised: bool) -> None:
    """Of ninety answers two may be lost by chance; twenty may not."""
    cells = [make("pgd", range(90), zero=0.0), make("q", range(beaten), knowledge="query")]
    (flag,) = flags_of(cells, "pgd", "query_beats_gradients")
    assert flag["value"] == pytest.approx((beaten - 90) / 100)
    assert flag["raised"] is is_raised
    assert flag["low"] <= flag["value"] <= flag["high"]
    assert "recall under q less recall under pgd" in flag["says"]


def test_cells_are_compared_on_the_images_that_both_attack(make: Make) -> None:
    """Outside the common thirty images the query attack is far ahead."""
    cells = [
        make("pgd", range(100), items=range(60), zero=0.0),
        make("q", range(30, 60), items=range(30, 100), knowledge="query"),
        make("elsewhere", items=range(60, 100), knowledge="query"),
    ]
    (flag,) = flags_of(cells, "pgd", "query_beats_gradients")
    assert (flag["against"], flag["value"], flag["n"]) == ("q", 0.0, 30)
    assert not flag["raised"]


def points(make: Make, recalls: Mapping[float, int], **same: Any) -> list[Cell]:
    """A curve, its points in another order than that of eps."""
    cells = [
        make(f"at_{eps}", range(correct), image={"norm": "linf", "eps": eps}, curve="c", **same)
        for eps, correct in recalls.items()
    ]
    return cells[1:] + cells[:1]


def test_only_the_end_of_a_curve_is_held_against_chance(make: Make) -> None:
    cells = points(make, {0.1: 90, 0.2: 50, 0.3: 40})
    names = [cell.record["attack"] for cell in cells]
    found = {name: flags_of(cells, name, "recall_survives_large_eps") for name in names}
    assert [len(found[name]) for name in ("at_0.1", "at_0.2", "at_0.3")] == [0, 0, 1]
    (flag,) = found["at_0.3"]
    assert (flag["raised"], flag["value"], flag["n"]) == (True, 0.4, 100)
    assert 0.25 < flag["low"] < 0.4 < flag["high"] < 0.55
    assert "by chance 0.0100" in flag["says"]


@pytest.mark.parametrize(("correct", "is_raised"), [(0, False), (4, False), (12, True)])
def test_survival_is_of_more_than_twice_the_chance(
    make: Make, correct: int, is_raised: bool
) -> None:
    """Two of two hundred captions are an image's own: one in a hundred is found by chance."""
    cells = points(make, {0.1: 90, 0.3: correct})
    (flag,) = flags_of(cells, "at_0.3", "recall_survives_large_eps")
    assert flag["raised"] is is_raised


def test_a_rise_is_against_the_eps_before(make: Make) -> None:
    cells = points(make, {0.1: 90, 0.2: 40, 0.3: 60, 0.4: 62})
    found = {
        name: [
            (flag["raised"], flag["against"], flag["value"])
            for flag in flags_of(cells, name, "recall_rises_with_eps")
        ]
        for name in ("at_0.1", "at_0.2", "at_0.3", "at_0.4")
    }
    assert found == {
        "at_0.1": [],
        "at_0.2": [(False, "at_0.1", -0.5)],
        "at_0.3": [(True, "at_0.2", pytest.approx(0.2))],
        "at_0.4": [(False, "at_0.3", pytest.approx(0.02))],
    }


def test_cells_that_are_no_curve_over_eps_have_no_flags_of_one(make: Make) -> None:
    fixed = {"image": {"norm": "linf", "eps": 0.1}}
    words = [
        make(f"w{n}", range(90), curve="w", **fixed, text={**WORDS["text"], "words": n})
        for n in (1, 2)
    ]
    texts = [make(f"t{n}", range(90), curve="t", image=None, **WORDS) for n in (1, 2)]
    apart = [make("a", range(10), **fixed), make("b", range(90), **WIDER)]
    cells = [*words, *texts, *apart]
    for cell in cells:
        for flag in ("recall_rises_with_eps", "recall_survives_large_eps"):
            assert flags_of(cells, cell.record["attack"], flag) == []


def test_a_flag_does_not_depend_on_the_other_cells(make: Make) -> None:
    cells = [make("pgd", range(90), zero=0.0), make("q", range(80), knowledge="query")]
    more = [make("r", range(70), knowledge="query"), *cells]
    (alone,) = flags_of(cells, "pgd", "query_beats_gradients")
    assert alone in flags_of(more, "pgd", "query_beats_gradients")
    assert alone in flags_of(more[::-1], "pgd", "query_beats_gradients")
