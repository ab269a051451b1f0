"""The verb `evaluate-model` on a hardly trained model: what it writes, keeps and redoes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmrobust.artifacts import read_json
from mmrobust.data.prepared import load_split
from mmrobust.data.scenes.dataset import Scenes
from mmrobust.evaluation import run
from mmrobust.evaluation.cells import read_cell
from mmrobust.models.dual_encoder import Architecture, ModelConfig, build_model, save_model
from mmrobust.models.tokenizer import TokenizerConfig, save_tokenizer, train_tokenizer

ARCHITECTURE = Architecture(
    embed_dim=16,
    vision_cfg={"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
    text_cfg={"context_length": 40, "width": 16, "heads": 2, "layers": 1},
)
SECTIONS = {
    "image": {"image": {"norm": "linf", "eps": "2/255"}},
    "text": {"text": {"words": 1}},
    "both": {"image": {"norm": "linf", "eps": "2/255"}, "text": {"words": 1}},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    Scenes(splits={"train": 16, "dev": 8, "test": 20}, image_size=32).prepare(folder, seed=7)
    return folder


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    trained = train_tokenizer(load_split(data, "train").captions, TokenizerConfig(vocab_size=150))
    save_tokenizer(trained, data / "tokenizer.json")
    config = ModelConfig(architecture=ARCHITECTURE)
    built = build_model(config, tokenizer=data / "tokenizer.json", seed=0)
    save_model(folder, built, config, tokenizer=data / "tokenizer.json")
    return folder


@pytest.fixture
def cfg() -> dict[str, Any]:
    return {
        "study": "smoke",
        "defence": "standard",
        "seed": 0,
        "threads": 1,
        "device": "cpu",
        "evaluation": {"gallery_images": [10], "batch_images": 7, "n_resamples": 50},
        "threat_models": SECTIONS,
        "attacks": {
            "pgd": {"method": "pgd", "threat_model": "image", "steps": 2},
            "words": {"method": "word_substitution", "threat_model": "text"},
            "sga": {"method": "sga", "threat_model": "both", "steps": 2, "scales": [0.5]},
        },
        "code": {"clean": "0", "pgd": "1", "words": "2", "sga": "3"},
    }


@pytest.fixture
def evaluate(data: Path, model: Path, tmp_path: Path) -> Callable[..., Path]:
    def call(cfg: dict[str, Any], name: str = "out") -> Path:
        out = tmp_path / name
        run.evaluate_model(cfg, data=data, model_folder=model, out=out, work=tmp_path / "work")
        return out

    return call


def computed(out: Path) -> list[str]:
    return read_json(out / "run.json")["cells_computed"]


def test_every_cell_is_written_with_its_budget_recounted(
    cfg: dict[str, Any], evaluate: Callable[..., Path]
) -> None:
    out = evaluate(cfg)
    assert computed(out) == ["clean", "pgd", "words", "sga"]
    cells = {name: read_cell(out / f"{name}.json").record for name in computed(out)}
    assert cells["clean"]["threat_model"] is None
    assert cells["clean"]["checks"] == {}
    assert cells["pgd"]["threat_model"]["image"] == {"norm": "linf", "eps": 2 / 255}
    assert cells["pgd"]["attack_config"] == {"method": "pgd", "step_size": 0.5 / 255, "steps": 2}
    for name, moved, words in (("pgd", True, False), ("words", False, True), ("sga", True, True)):
        checks = cells[name]["checks"]
        assert (0 < checks["max_abs_perturbation"] <= 2 / 255 + 1e-7) is moved
        assert checks["max_words_changed"] == int(words)
        assert (0 < checks["mean_words_changed"] <= 1) is words
        assert cells[name]["counts"]["images"] == 20


def test_finished_cells_are_not_computed_again_and_a_new_attack_is(
    cfg: dict[str, Any], evaluate: Callable[..., Path]
) -> None:
    first = evaluate(cfg)
    again = evaluate(cfg, "again")
    assert computed(again) == []
    for path in first.iterdir():
        if path.name != "run.json":
            assert path.read_bytes() == (again / path.name).read_bytes()
    more = {**cfg["attacks"], "long": {"method": "pgd", "threat_model": "image", "steps": 3}}
    wider = {**cfg, "attacks": more, "code": {**cfg["code"], "long": "1"}}
    assert computed(evaluate(wider, "wider")) == ["long"]


@pytest.mark.parametrize(
    "change",
    [
        {"code": {"clean": "0", "pgd": "x", "words": "2", "sga": "3"}},
        {"threat_models": {**SECTIONS, "image": {"image": {"eps": "1/255"}}}},
    ],
)
def test_a_cell_is_computed_again_when_what_it_came_from_changed(
    cfg: dict[str, Any], evaluate: Callable[..., Path], change: dict[str, Any]
) -> None:
    evaluate(cfg)
    assert computed(evaluate({**cfg, **change}, "changed")) == ["pgd"]


def test_the_store_changes_time_and_no_byte(
    cfg: dict[str, Any], evaluate: Callable[..., Path], tmp_path: Path
) -> None:
    """Also a cell that was half written by a job that was killed."""
    first = evaluate(cfg)
    for path in (tmp_path / "work").rglob("cell.parquet"):
        path.write_bytes(path.read_bytes()[:100])
    again = evaluate(cfg, "again")
    assert computed(again) == ["clean", "pgd", "words", "sga"]
    for path in first.iterdir():
        if path.name != "run.json":
            assert path.read_bytes() == (again / path.name).read_bytes()


def test_embeddings_are_those_of_the_attacked_inputs(data: Path, model: Path) -> None:
    """The clean half of an attack on images alone is the clean embedding itself."""
    from mmrobust.attacks.pgd import PGD
    from mmrobust.config import EvaluationConfig
    from mmrobust.threat import ImageBudget, ThreatModel

    evaluation = EvaluationConfig(gallery_images=(10,), batch_images=7)
    subject = run.load_subject({"device": "cpu"}, evaluation, data, model)
    with torch.no_grad():
        images = torch.cat([batch.images for batch in run.batches(subject.split, 7)])
        expected = subject.model.encode_image(images).numpy()
    np.testing.assert_allclose(subject.clean_image, expected, atol=1e-5)
    threat = ThreatModel(image=ImageBudget(eps=2 / 255))
    found, _ = run.attack_split(
        subject, PGD(steps=2), threat, name="pgd", seed=0, batch=evaluation.batch_images
    )
    np.testing.assert_array_equal(found.adversarial_text, subject.clean_text)
    own = subject.split.caption_image
    before = (subject.clean_image[own] * subject.clean_text).sum(axis=1).mean()
    after = (found.adversarial_image[own] * subject.clean_text).sum(axis=1).mean()
    assert after < before


def test_attacked_captions_that_read_alike_tie_exactly(data: Path, model: Path) -> None:
    """Also one with a clean caption of another image, whatever batches they were encoded in."""
    from mmrobust.config import EvaluationConfig

    subject = run.load_subject(
        {"device": "cpu"}, EvaluationConfig(gallery_images=(10,)), data, model
    )
    clean = subject.split.captions
    captions = [clean[3], "a crimson ring", *clean[2:5], "a crimson ring", clean[0]]
    found = run.embed_attacked(subject, captions)
    np.testing.assert_array_equal(found[0], subject.clean_text[3])
    np.testing.assert_array_equal(found[2:5], subject.clean_text[2:5])
    np.testing.assert_array_equal(found[1], found[5])
    with torch.no_grad():
        expected = subject.model.encode_text(["a crimson ring"])[0].numpy()
    np.testing.assert_allclose(found[1], expected, atol=1e-5)
    np.testing.assert_array_equal(run.embed_attacked(subject, clean), subject.clean_text)


def test_batches_hold_images_with_all_their_captions(data: Path) -> None:
    split = load_split(data, "test")
    seen: list[str] = []
    for number, batch in enumerate(run.batches(split, 7)):
        seen += batch.captions
        rows = split.caption_image[len(seen) - len(batch.captions) : len(seen)]
        assert (batch.caption_image.numpy() + 7 * number == rows).all()
    assert seen == split.captions


def test_a_threat_model_that_does_not_fit_is_told(
    cfg: dict[str, Any], evaluate: Callable[..., Path]
) -> None:
    from mmrobust.errors import UserError

    attacks = {"pgd": {"method": "pgd", "threat_model": "both"}}
    with pytest.raises(UserError, match="doesn't perturb the text but its threat model has one"):
        evaluate({**cfg, "attacks": attacks})
