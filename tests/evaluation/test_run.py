"""The verb `evaluate-model` on a hardly trained model: what it writes, keeps and redoes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from mmrobust.artifacts import read_json
from mmrobust.attacks.base import Attack
from mmrobust.attacks.pgd import PGD
from mmrobust.attacks.text_search.base import Language
from mmrobust.attacks.word_substitution import WordSubstitution
from mmrobust.data.prepared import load_split
from mmrobust.data.scenes.dataset import Scenes
from mmrobust.errors import UserError
from mmrobust.evaluation import run
from mmrobust.evaluation.cells import Cell, read_cell
from mmrobust.evaluation.crafting import Crafted, craft
from mmrobust.evaluation.examples import SCHEMA
from mmrobust.evaluation.keys import Folders
from mmrobust.evaluation.retrieval import split_ranks
from mmrobust.evaluation.subject import Subject, drawn_items, load_language, load_subject
from mmrobust.models.dual_encoder import Architecture, ModelConfig, build_model, save_model
from mmrobust.models.tokenizer import TokenizerConfig, save_tokenizer, train_tokenizer
from mmrobust.threat import ImageBudget, TextBudget, ThreatModel

ARCHITECTURE = Architecture(
    embed_dim=16,
    vision_cfg={"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
    text_cfg={"context_length": 40, "width": 16, "heads": 2, "layers": 1},
)
OTHER = Architecture(
    embed_dim=8,
    vision_cfg={"image_size": 24, "patch_size": 8, "layers": 1, "width": 32, "head_width": 32},
    text_cfg={"context_length": 30, "width": 16, "heads": 2, "layers": 1},
)
SPLITS = {"train": 16, "dev": 8, "test": 20}
IMAGE = {"norm": "linf", "eps": "2/255"}
THREAT_MODELS = {
    "image": {"image": IMAGE},
    "text": {"text": {"words": 1}},
    "both": {"image": IMAGE, "text": {"words": 1}},
    "queries": {"knowledge": "query", "image": IMAGE},
    "far": {"knowledge": "transfer", "source": "other", "image": IMAGE},
}
LEXICON = {"candidates": {"kind": "lexicon"}}
ATTACKS: dict[str, dict[str, Any]] = {
    "pgd": {"method": "pgd", "threat_model": "image", "steps": 2},
    "words": {"method": "word_substitution", "threat_model": "text"},
    "sga": {
        "method": "sga",
        "threat_model": "both",
        "steps": 2,
        "scales": [0.5],
        "text": LEXICON,
    },
    "some": {"method": "pgd", "threat_model": "image", "steps": 2, "items": 8},
    "square": {"method": "square", "threat_model": "queries", "queries": 20},
    "far": {"method": "pgd", "threat_model": "far", "steps": 2},
    "last": {"method": "pgd", "threat_model": "image", "steps": 3, "standalone": False},
}
WHOLE = ["clean", "pgd", "words", "sga", "square", "far"]
CELLS = ["clean", "pgd", "words", "sga", "some", "square", "far", "strongest"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    Scenes(splits=SPLITS, image_size=32).prepare(folder, seed=7)
    return folder


@pytest.fixture(scope="module")
def models(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two checkpoints that share neither towers nor tokenizer nor size of images."""
    captions = load_split(data, "train").captions
    folders = []
    for architecture, vocab_size in ((ARCHITECTURE, 150), (OTHER, 120)):
        folder = tmp_path_factory.mktemp("model")
        config, tokenizer = ModelConfig(architecture=architecture), folder / "learned.json"
        save_tokenizer(train_tokenizer(captions, TokenizerConfig(vocab_size=vocab_size)), tokenizer)
        built = build_model(config, tokenizer=tokenizer, seed=0)
        save_model(folder, built, config, tokenizer=tokenizer)
        folders.append(folder)
    return folders


def study(*attacks: str, **changes: Any) -> dict[str, Any]:
    """What the verb is told, for the named attacks."""
    return {
        "study": "smoke",
        "defence": "standard",
        "seed": 0,
        "threads": 1,
        "device": "cpu",
        "data_seed": 7,
        "dataset": {"name": "scenes", "splits": SPLITS, "image_size": 32},
        "evaluation": {"gallery_images": [10], "batch_images": 7, "n_resamples": 20, "examples": 2},
        "threat_models": THREAT_MODELS,
        "attacks": {name: ATTACKS[name] for name in attacks},
        "ensembles": {},
        "asks_masked_lm": [],
        "code": {name: "0" for name in (*CELLS, *attacks)},
        **changes,
    }


Evaluate = Callable[..., Path]


@pytest.fixture
def evaluate(data: Path, models: list[Path], tmp_path: Path) -> Evaluate:
    def call(cfg: dict[str, Any], name: str = "out") -> Path:
        folders = Folders(
            data=data,
            model=models[0],
            sources={"other": models[1]},
            cells=tmp_path / name / "cells",
            examples=tmp_path / name / "examples",
            work=tmp_path / "work",
        )
        run.evaluate_model(cfg, folders)
        return tmp_path / name

    return call


@pytest.fixture(scope="module")
def whole(data: Path, models: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything evaluated once, an ensemble included."""
    out = tmp_path_factory.mktemp("whole")
    members = ["pgd", "some", "sga", "last"]
    ensembles = {"strongest": {"threat_model": "both", "members": members, "items": 12}}
    folders = Folders(
        data=data,
        model=models[0],
        sources={"other": models[1]},
        cells=out / "cells",
        examples=out / "examples",
        work=out / "work",
    )
    run.evaluate_model(study(*ATTACKS, ensembles=ensembles), folders)
    return out


def cell(out: Path, name: str) -> Cell:
    return read_cell(out / "cells" / f"{name}.json")


def computed(out: Path) -> list[str]:
    return list(read_json(out / "cells" / "run.json")["cells_computed"])


def test_one_cell_is_that_of_the_whole_model(
    data: Path, models: list[Path], whole: Path, tmp_path: Path
) -> None:
    """All but its flags, which compare it with the cells that were computed for it alone."""
    members = ["pgd", "some", "sga", "last"]
    ensembles = {"strongest": {"threat_model": "both", "members": members, "items": 12}}
    for name, cfg in {
        "clean": study(),
        "words": study("words"),
        "strongest": study(*members, ensembles=ensembles),
    }.items():
        work = tmp_path / "work"
        folders = Folders(
            data=data, model=models[0], cells=tmp_path / name, work=work, examples=None
        )
        run.evaluate_cell(cfg, folders, cell=name)
        assert {path.name for path in (tmp_path / name).iterdir()} == {
            f"{name}.json",
            f"{name}.parquet",
        }
        one, of_all = read_cell(tmp_path / name / f"{name}.json"), cell(whole, name)
        assert one.record | {"flags": []} == of_all.record | {"flags": []}
        assert one.outcomes.equals(of_all.outcomes)
    assert {path.name for path in work.iterdir()} < {
        path.name for path in (whole / "work").iterdir()
    }


def test_which_attacks_ask_the_masked_language_model_is_checked(evaluate: Evaluate) -> None:
    with pytest.raises(UserError, match=r"asks_masked_lm: is wrong of attacks\.words"):
        evaluate(study("pgd", "words", asks_masked_lm=["words"]))


def test_every_cell_is_written_with_its_budget_recounted(whole: Path) -> None:
    assert computed(whole) == CELLS
    records = {name: cell(whole, name).record for name in CELLS}
    assert not (whole / "cells" / "last.json").exists()
    assert records["clean"]["threat_model"] is None
    assert set(records["clean"]["checks"]) == {"hard_negatives", "rare_hard_negatives"}
    assert records["clean"]["checks"]["hard_negatives"]["n"] == 100
    assert records["pgd"]["threat_model"] == {
        "name": "image",
        "knowledge": "white_box",
        "source": None,
        "image": {"norm": "linf", "eps": 2 / 255},
        "text": None,
    }
    assert records["pgd"]["attack_config"] == {
        "method": "pgd",
        "step_size": 0.5 / 255,
        "steps": 2,
        "objective": "positive_pair",
    }
    for name, moved, words in (("pgd", True, 0), ("words", False, 1), ("sga", True, 1)):
        checks = records[name]["checks"]
        assert (0 < checks["max_perturbation"] <= 2 / 255) is moved
        assert checks["max_words_changed"] == words
        assert (0 < checks["mean_words_changed"] <= 1) is bool(words)
        assert (checks["max_characters_changed"] > 0) is bool(words)
        assert (checks["zero_gradients"] == 0.0) is moved
        assert checks["image_passes"] == {"pgd": 2, "words": 0, "sga": 4}[name]
    assert records["square"]["checks"]["zero_gradients"] is None
    assert records["square"]["checks"]["image_passes"] == 20
    assert records["far"]["threat_model"]["source"] == "other"
    for name in CELLS:
        assert records[name]["counts"]["images"] == 20
        if name in WHOLE:
            assert records[name]["counts"]["attacked_images"] == 20
            assert records[name]["protocols"] == ["full_gallery", "own_pair"]


def test_truth_is_decided_of_captions_that_were_attacked(whole: Path) -> None:
    for name in CELLS:
        checks = cell(whole, name).record["checks"]
        assert ("captions_true" in checks) is (name in ("words", "sga", "strongest"))
    truth = cell(whole, "words").record["checks"]["captions_true"]
    # The synonyms of this world mean exactly the same.
    assert (truth["value"], truth["n"]) == (1.0, 100)


def test_an_attack_on_some_items_has_their_own_pair_outcomes(whole: Path, data: Path) -> None:
    some, all_of_them = cell(whole, "some"), cell(whole, "pgd")
    assert some.record["protocols"] == ["own_pair"]
    assert some.record["counts"]["attacked_images"] == 8
    assert set(some.outcomes["image"]) == set(drawn_items(20, 8)) < set(drawn_items(20, 12))
    assert set(all_of_them.outcomes["image"]) == set(range(20))


@pytest.mark.parametrize("direction", ["i2t", "t2i"])
def test_an_ensemble_of_one_direction_leaves_items_by_its_queries(
    evaluate: Evaluate, direction: str
) -> None:
    section = {"threat_model": "image", "members": ["pgd", "last"], "direction": direction}
    out = evaluate(study("pgd", "last", ensembles={"strongest": section}))
    record = cell(out, "strongest").record
    assert record["attack_config"] == {"ensemble": ["pgd", "last"], "direction": direction}
    lowest = [cell(out, name).outcomes for name in ("clean", "pgd")]
    rank = np.maximum(*(of[of["protocol"] == "own_pair"]["rank"].to_numpy() for of in lowest))
    rows = lowest[0][lowest[0]["protocol"] == "own_pair"]
    stands = rows[(rank <= 10) & (rows["direction"] == direction)]["image"].nunique()
    assert record["checks"]["standing"]["pgd"] == stands


def test_an_ensemble_is_at_or_below_its_members(whole: Path) -> None:
    strongest = cell(whole, "strongest")
    assert strongest.record["attack_config"] == {
        "ensemble": ["pgd", "some", "sga", "last"],
        "direction": "both",
    }
    assert strongest.record["protocols"] == ["own_pair"]
    assert set(strongest.outcomes["image"]) == set(drawn_items(20, 12))
    standing = strongest.record["checks"]["standing"]
    in_turn = [standing[member] for member in strongest.record["attack_config"]["ensemble"]]
    assert in_turn == sorted(in_turn, reverse=True)
    assert len(standing) == 4
    keys = ["protocol", "direction", "labels", "gallery_images", "query"]
    ours = strongest.outcomes.set_index(keys)["rank"]
    for name in ("clean", "pgd", "some", "sga"):
        theirs = cell(whole, name).outcomes.set_index(keys)["rank"]
        common = ours.index.intersection(theirs.index)
        assert len(common) > 0
        assert (ours[common] >= theirs[common]).all()


def test_flags_compare_the_cells(whole: Path) -> None:
    flags = {name: cell(whole, name).record["flags"] for name in CELLS}
    assert [(flag["flag"], flag["against"]) for flag in flags["pgd"]] == [
        ("zero_gradients", None),
        ("query_beats_gradients", "square"),
        ("transfer_beats_white_box", "far"),
    ]
    # One attack by gradients, the strongest, is held against queries.
    assert [(flag["flag"], flag["n"]) for flag in flags["some"]] == [
        ("zero_gradients", 8),
        ("transfer_beats_white_box", 8),
    ]
    assert flags["clean"] == flags["words"] == flags["strongest"] == []


def test_examples_show_the_same_items_before_and_after(whole: Path, data: Path) -> None:
    folder = whole / "examples"
    assert {path.stem for path in folder.iterdir()} == {
        "pgd",
        "words",
        "sga",
        "some",
        *("square", "far"),
    }
    table = pq.read_table(folder / "sga.parquet")
    assert table.schema.equals(SCHEMA)
    rows = table.to_pylist()
    split = load_split(data, "test")
    assert [row["image"] for row in rows] == drawn_items(20, 2)
    ranks = cell(whole, "sga").outcomes.query("protocol == 'own_pair' and labels == 'one_image'")
    for row in rows:
        mine = split.caption_image == row["image"]
        assert row["captions"] == [c for c, own in zip(split.captions, mine, strict=True) if own]
        assert row["captions_true"] == [1] * 5
        assert row["captions"] != row["adversarial_captions"]
        assert row["clean"][:4] == b"\x89PNG"
        assert row["magnification"] == pytest.approx(0.5 / (2 / 255), rel=0.5)
        found = ranks[ranks["image"] == row["image"]]
        by_direction = {of: list(rows["rank"]) for of, rows in found.groupby("direction")}
        assert by_direction["i2t"] == [row["adversarial_i2t_rank"]]
        assert by_direction["t2i"] == row["adversarial_t2i_ranks"]


def test_finished_cells_are_not_computed_again_and_a_new_attack_is(evaluate: Evaluate) -> None:
    first = evaluate(study("pgd", "some"))
    assert computed(first) == ["clean", "pgd", "some"]
    again = evaluate(study("pgd", "some"), "again")
    assert computed(again) == []
    for path in first.rglob("*.*"):
        if path.name != "run.json":
            assert path.read_bytes() == (again / path.relative_to(first)).read_bytes()
    assert computed(evaluate(study("pgd", "some", "far"), "wider")) == ["far"]


@pytest.mark.parametrize(
    "change",
    [
        {"code": {"clean": "0", "pgd": "x", "words": "0"}},
        {"threat_models": {**THREAT_MODELS, "image": {"image": {"eps": "1/255"}}}},
        {"attacks": {"words": ATTACKS["words"], "pgd": {**ATTACKS["pgd"], "items": 7}}},
    ],
)
def test_a_cell_is_computed_again_when_what_it_came_from_changed(
    evaluate: Evaluate, change: dict[str, Any]
) -> None:
    evaluate(study("pgd", "words"))
    assert computed(evaluate(study("pgd", "words", **change), "changed")) == ["pgd"]


@pytest.mark.parametrize("broken", ["cell.parquet", "examples.parquet"])
def test_the_store_changes_time_and_no_byte(
    evaluate: Evaluate, tmp_path: Path, broken: str
) -> None:
    """Also a cell that was half written by a job that was killed."""
    first = evaluate(study("pgd", "some"))
    for path in (tmp_path / "work").rglob(broken):
        path.write_bytes(path.read_bytes()[:100])
    again = evaluate(study("pgd", "some"), "again")
    assert computed(again) == ["clean", "pgd", "some"]
    for path in first.rglob("*.*"):
        if path.name != "run.json":
            assert path.read_bytes() == (again / path.relative_to(first)).read_bytes()


@pytest.fixture(scope="module")
def subject(data: Path, models: list[Path]) -> Subject:
    split = load_split(data, "test")
    return load_subject(models[0], split, device="cpu", gallery_images=10)


def attacked(subject: Subject, attack: Attack, budget: ThreatModel, **how: Any) -> Crafted:
    told: dict[str, Any] = {"items": range(20), "batch_images": 7, "language": Language(), **how}
    return craft(subject, subject, attack, budget, keep=[], name="x", seed=0, **told)


IMAGE_BUDGET = ThreatModel(image=ImageBudget(eps=2 / 255))


def test_embeddings_are_those_of_the_attacked_inputs(subject: Subject) -> None:
    """The text half of an attack on images alone is the clean embedding itself."""
    with torch.no_grad():
        expected = subject.model.encode_image(subject.pixels(range(20))).numpy()
    np.testing.assert_allclose(subject.clean_image, expected, atol=1e-5)
    found = attacked(subject, PGD(steps=2), IMAGE_BUDGET).embeddings(subject)
    np.testing.assert_array_equal(found.adversarial_text, subject.clean_text)
    own = subject.split.caption_image
    before = (subject.clean_image[own] * subject.clean_text).sum(axis=1).mean()
    after = (found.adversarial_image[own] * subject.clean_text).sum(axis=1).mean()
    assert after < before


def test_images_that_stay_as_they_are_keep_their_clean_embeddings(
    subject: Subject, data: Path
) -> None:
    section = {"name": "scenes", "splits": SPLITS, "image_size": 32}
    language = load_language(data, None, dataset=section, split="test", data_seed=7, device="cpu")
    budget = ThreatModel(text=TextBudget(words=1))
    found = attacked(subject, WordSubstitution(), budget, language=language, items=range(5))
    np.testing.assert_array_equal(found.image, subject.clean_image)
    assert found.captions[25:] == subject.split.captions[25:]
    assert found.caption_true.tolist() == [1] * 25 + [-1] * 75
    nothing = ThreatModel(image=ImageBudget(eps=0))
    unmoved = attacked(subject, PGD(steps=1), nothing).embeddings(subject)
    ranks = split_ranks(unmoved, gallery_images=[10])
    assert ranks.equals(split_ranks(subject.embeddings(), gallery_images=[10]))


def test_an_item_is_attacked_alike_in_any_company(subject: Subject) -> None:
    """In other batches and with fewer other items around it, but for rounding."""
    far, rows = ThreatModel(image=ImageBudget(eps=0.5)), [3, 4, 12, 19]
    whole = attacked(subject, PGD(steps=1, step_size=0.1), far)
    part = attacked(subject, PGD(steps=1, step_size=0.1), far, items=rows, batch_images=2)
    np.testing.assert_allclose(part.image[rows], whole.image[rows], atol=2e-5)
    others = [row for row in range(20) if row not in rows]
    np.testing.assert_array_equal(part.image[others], subject.clean_image[others])
    assert np.abs(whole.image[rows] - subject.clean_image[rows]).max() > 1e-3


def test_attacked_captions_that_read_alike_tie_exactly(subject: Subject) -> None:
    """Also one with a clean caption of another image, whatever batches they were encoded in."""
    clean = subject.split.captions
    captions = [clean[3], "a crimson ring", *clean[2:5], "a crimson ring", clean[0]]
    found = subject.embed_attacked(captions)
    np.testing.assert_array_equal(found[0], subject.clean_text[3])
    np.testing.assert_array_equal(found[2:5], subject.clean_text[2:5])
    np.testing.assert_array_equal(found[1], found[5])
    with torch.no_grad():
        expected = subject.model.encode_text(["a crimson ring"])[0].numpy()
    np.testing.assert_allclose(found[1], expected, atol=1e-5)
    np.testing.assert_array_equal(subject.embed_attacked(clean), subject.clean_text)


def test_what_the_model_does_not_read_tells_no_captions_apart(subject: Subject) -> None:
    """Written with other letters, or longer than the context: the same tokens, the same row."""
    clean = subject.split.captions
    loud = [caption.upper() for caption in clean[2:5]]
    tokens = subject.model.tokenize
    assert torch.equal(tokens(loud), tokens(clean[2:5]))
    np.testing.assert_array_equal(subject.embed_attacked(loud), subject.clean_text[2:5])
    cut = ["ring " * 40 + word for word in ("red", "blue")]
    assert torch.equal(tokens(cut[:1]), tokens(cut[1:]))
    one, other = subject.embed_attacked([cut[0], "a crimson ring", cut[1]])[[0, 2]]
    np.testing.assert_array_equal(one, other)


def test_batches_hold_images_with_all_their_captions_and_their_gallery(subject: Subject) -> None:
    items, seen = [1, 2, 3, 8, 11, 12, 19], []
    for batch in subject.batches(items, 3):
        assert batch.numbers is not None
        assert batch.own is not None
        assert batch.distractors is not None
        seen.append(batch.numbers)
        assert torch.equal(batch.images, subject.pixels(batch.numbers))
        first = 10 * (batch.numbers[0] // 10)
        assert (batch.own + first).tolist() == list(batch.numbers)
        owners = [batch.numbers[row] for row in batch.caption_image.tolist()]
        captions = [row for item in batch.numbers for row in subject.captions_of(item)]
        assert owners == subject.split.caption_image[captions].tolist()
        assert list(batch.captions) == [subject.split.captions[row] for row in captions]
        gallery = batch.distractors
        np.testing.assert_array_equal(gallery.image, subject.clean_image[first : first + 10])
        of_gallery = slice(5 * first, 5 * first + 50)
        np.testing.assert_array_equal(gallery.text, subject.clean_text[of_gallery])
        assert gallery.text_image.tolist() == np.repeat(range(10), 5).tolist()
    assert seen == [(1, 2, 3), (8,), (11, 12, 19)]


def test_drawn_items_are_nested_and_ascending() -> None:
    draws = [drawn_items(50, items) for items in (1, 5, 20, 50)]
    assert [len(draw) for draw in draws] == [1, 5, 20, 50]
    for smaller, larger in pairwise(draws):
        assert smaller == sorted(smaller)
        assert set(smaller) < set(larger)
    assert draws[2] != list(range(20))


def test_a_transferred_attack_knows_the_source_alone(
    data: Path, models: list[Path], subject: Subject
) -> None:
    """The same perturbation comes out whatever it is evaluated on."""
    source = load_subject(models[1], subject.split, device="cpu", gallery_images=10)
    found = [
        craft(
            source,
            target,
            PGD(steps=2, objective="soft_margin"),
            ThreatModel(knowledge="transfer", source="other", image=ImageBudget(eps=8 / 255)),
            Language(),
            items=range(20),
            keep=[3],
            name="far",
            seed=0,
            batch_images=7,
        )
        for target in (source, subject)
    ]
    assert np.array_equal(found[0].kept[3], found[1].kept[3])
    moved = torch.from_numpy(found[1].kept[3])[None]
    expected = subject.embed_pixels(moved)[0]
    np.testing.assert_allclose(found[1].image[3], expected, atol=1e-5)
    own = (found[0].image @ source.clean_text.T)[np.arange(20), 5 * np.arange(20)]
    clean = (source.clean_image @ source.clean_text.T)[np.arange(20), 5 * np.arange(20)]
    assert own.mean() < clean.mean()


@pytest.mark.parametrize("given", [{}, {"other": "nowhere"}])
def test_a_source_that_is_not_there_is_told(
    given: dict[str, str], data: Path, models: list[Path], tmp_path: Path
) -> None:
    folders = Folders(
        data=data,
        model=models[0],
        sources={name: tmp_path / folder for name, folder in given.items()},
        cells=tmp_path / "cells",
        examples=tmp_path / "examples",
        work=tmp_path / "work",
    )
    told = r"no --source for 'other'|or name the folder of a checkpoint"
    with pytest.raises(UserError, match=told):
        run.evaluate_model(study("far"), folders)


@pytest.mark.parametrize(
    ("threat_model", "said"),
    [
        ("both", "doesn't perturb the text but its threat model has one"),
        ("queries", "uses gradients, which its threat model"),
        ("nowhere", "no --source for 'nowhere'"),
    ],
)
def test_a_threat_model_that_does_not_fit_is_told(
    evaluate: Evaluate, threat_model: str, said: str
) -> None:
    nowhere = {"knowledge": "transfer", "source": "nowhere", "image": IMAGE}
    attacks = {"pgd": {"method": "pgd", "threat_model": threat_model}}
    cfg = study("pgd", attacks=attacks, threat_models={**THREAT_MODELS, "nowhere": nowhere})
    with pytest.raises(UserError, match=said):
        evaluate(cfg)
