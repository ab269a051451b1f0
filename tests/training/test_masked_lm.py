from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from mmrobust.cli import app
from mmrobust.errors import UserError
from mmrobust.models.bert import (
    BertArchitecture,
    PretrainedBert,
    build_masked_lm,
    learn_wordpieces,
)
from mmrobust.models.masked_lm import load_masked_lm
from mmrobust.models.pretrained import quiet_transformers
from mmrobust.training import masked_lm
from mmrobust.training.loop import TrainingConfig
from mmrobust.training.masked_lm import (
    FILES,
    MaskedLMConfig,
    caption_batches,
    encode,
    fit,
    mask_pieces,
    measure,
    train_masked_lm,
)

COLOURS = ("red", "blue", "green")
CAPTIONS = {
    "train": [f"a {colour} dog runs over the {n} hills" for colour in COLOURS for n in "12345678"],
    "dev": ["a red zebra runs"] * 4,
    "test": ["a blue xylophone"],
}
ARCHITECTURE = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
}
TRAINING = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make `CAPTIONS` the prepared dataset; the splits that are opened."""
    names: list[str] = []

    def load(root: Path, name: str) -> SimpleNamespace:
        names.append(name)
        return SimpleNamespace(captions=CAPTIONS[name])

    monkeypatch.setattr(masked_lm, "load_split", load)
    return names


@pytest.fixture
def cfg() -> Callable[..., dict[str, Any]]:
    def make(**section: Any) -> dict[str, Any]:
        own = {"architecture": ARCHITECTURE, "training": TRAINING, "seed": 3}
        return {"masked_lm": section or own, "threads": 1, "device": "cpu"}

    return make


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    vocabulary = learn_wordpieces(CAPTIONS["train"], 60)
    return build_masked_lm(BertArchitecture(**ARCHITECTURE), vocabulary, seed=0)


@pytest.fixture
def threads() -> Iterator[None]:
    """Bring back the thread count that a verb sets."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


pytestmark = pytest.mark.usefixtures("threads")


def test_only_training_captions_are_learned_from(
    opened: list[str], cfg: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    train_masked_lm(cfg(), data=tmp_path, out=tmp_path / "out")
    assert set(opened) == {"train", "dev"}
    words = json.loads((tmp_path / "out" / "tokenizer.json").read_text())["model"]["vocab"]
    assert {"dog", "hills", "runs"} <= set(words)
    assert set(words).isdisjoint({"zebra", "z", "##z", "x", "xylophone"})
    assert set(json.loads((tmp_path / "out" / "metrics.json").read_text())) == {
        *("dev_accuracy", "dev_loss", "dev_pieces")
    }


def test_the_same_seed_gives_the_same_bytes(
    opened: list[str], cfg: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    state = torch.get_rng_state()
    other = cfg()
    other["masked_lm"] = other["masked_lm"] | {"seed": 4}
    for name, job in (("one", cfg()), ("same", cfg()), ("other", other)):
        train_masked_lm(job, data=tmp_path, out=tmp_path / name)
        assert {path.name for path in (tmp_path / name).iterdir()} == set(FILES)
    assert {path.name for path in tmp_path.iterdir()} == {"one", "same", "other"}
    assert torch.equal(torch.get_rng_state(), state)
    for name in set(FILES) - {"run.json"}:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "same" / name).read_bytes(), name
        assert str(tmp_path).encode() not in content
        assert (tmp_path / "one" / name).stat().st_mode & 0o077 == (
            (tmp_path / "one" / "metrics.json").stat().st_mode & 0o077
        )
        differs = name in ("model.safetensors", "history.csv", "metrics.json")
        assert (content != (tmp_path / "other" / name).read_bytes()) is differs, name
    history = (tmp_path / "one" / "history.csv").read_text().splitlines()
    assert history[0] == "step,loss"
    assert [int(line.split(",")[0]) for line in history[1:]] == list(range(6))


def test_loss_falls_and_what_was_masked_is_told(parts: tuple[Any, Any]) -> None:
    model, tokenizer = build_masked_lm(
        BertArchitecture(**ARCHITECTURE), learn_wordpieces(CAPTIONS["train"], 60), seed=0
    )
    before = measure(model, tokenizer, CAPTIONS["train"], seed=0)
    rows = encode(tokenizer, CAPTIONS["train"] * 4, context=32)
    config = TrainingConfig(epochs=12, batch_size=8, learning_rate=0.01)
    losses = [loss for _, loss in fit(model, tokenizer, rows, config, seed=0)]
    assert len(losses) == 12 * 12
    assert sum(losses[-20:]) < 0.6 * sum(losses[:20])
    after = measure(model, tokenizer, CAPTIONS["train"], seed=0)
    assert after["dev_pieces"] == before["dev_pieces"]
    assert after["dev_loss"] < 0.6 * before["dev_loss"]
    assert before["dev_accuracy"] < 0.2
    assert after["dev_accuracy"] > 0.5
    assert not model.training


def test_a_loss_that_is_not_finite_and_too_large_a_batch_are_told(
    parts: tuple[Any, Any],
) -> None:
    _, tokenizer = parts
    rows = encode(tokenizer, CAPTIONS["train"], context=32)
    model, _ = build_masked_lm(
        BertArchitecture(**ARCHITECTURE), learn_wordpieces(CAPTIONS["train"], 60), seed=0
    )
    with torch.no_grad():
        model.cls.predictions.bias.fill_(float("nan"))
    config = TrainingConfig(epochs=1, batch_size=8, learning_rate=0.01)
    with pytest.raises(UserError, match=r"masked_lm\.training: the loss is nan at step 0"):
        fit(model, tokenizer, rows, config, seed=0)
    config = TrainingConfig(epochs=1, batch_size=25, learning_rate=0.01)
    with pytest.raises(UserError, match=r"masked_lm\.training\.batch_size: 25 exceeds the 24"):
        fit(model, tokenizer, rows, config, seed=0)


def test_accuracy_and_loss_are_those_of_a_slow_loop(parts: tuple[Any, Any]) -> None:
    """One caption, so that the masks are those of one generator."""
    from mmrobust.randomness import torch_generator

    model, tokenizer = parts
    captions = ["a red dog runs over the 1 hills " * 3]
    found = measure(model, tokenizer, captions, seed=5)
    ids = torch.tensor(encode(tokenizer, captions, context=32))
    generator = torch_generator(5, "masked language model", "dev masks", 0)
    shown, chosen = mask_pieces(ids, tokenizer, generator)
    with torch.no_grad():
        logits = model(input_ids=shown).logits[0]
    places = chosen[0].nonzero().flatten().tolist()
    assert places
    losses = [-float(logits[place].log_softmax(0)[ids[0, place]]) for place in places]
    right = [int(logits[place].argmax()) == int(ids[0, place]) for place in places]
    assert found["dev_pieces"] == len(places)
    assert found["dev_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert found["dev_accuracy"] == sum(right) / len(right)


def test_masks_have_the_shares_of_the_paper(parts: tuple[Any, Any]) -> None:
    """15 % of 250,000 pieces, of which 80 % masked, 10 % random, 10 % kept: within 5 sigma."""
    _, tokenizer = parts
    generator = torch.Generator().manual_seed(0)
    ordinary = torch.tensor(
        [n for n in range(len(tokenizer)) if n not in set(tokenizer.all_special_ids)]
    )
    ids = ordinary[torch.randint(len(ordinary), (1000, 252), generator=generator)]
    ids[:, 0], ids[:, -1], ids[::2, -3:] = tokenizer.cls_token_id, tokenizer.sep_token_id, 0
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    shown, chosen = mask_pieces(ids, tokenizer, torch.Generator().manual_seed(1))
    assert not (chosen & special).any()
    assert torch.equal(shown[~chosen], ids[~chosen])
    pieces = int((~special).sum())
    n = int(chosen.sum())
    assert n / pieces == pytest.approx(0.15, abs=5 * (0.15 * 0.85 / pieces) ** 0.5)
    masked = shown[chosen] == tokenizer.mask_token_id
    assert float(masked.float().mean()) == pytest.approx(0.8, abs=5 * (0.16 / n) ** 0.5)
    # A random piece may be the one that was there.
    changed = (~masked & (shown[chosen] != ids[chosen])).float().mean()
    expected = 0.1 * (1 - 1 / len(ordinary))
    assert float(changed) == pytest.approx(expected, abs=5 * (0.09 / n) ** 0.5)
    drawn = shown[chosen][~masked]
    assert set(drawn.tolist()) == set(ordinary.tolist())


def test_an_epoch_visits_each_caption_once_in_batches_of_like_lengths() -> None:
    lengths = [3 + (n * 7) % 20 for n in range(1000)]
    first, again, second = (
        caption_batches(lengths, 16, seed=0, epoch=epoch) for epoch in (0, 0, 1)
    )
    assert first.shape == (62, 16)
    assert len(set(first.flatten().tolist())) == 62 * 16
    assert (first == again).all()
    assert (first != second).any()
    ranges = [
        max(lengths[row] for row in rows) - min(lengths[row] for row in rows) for rows in first
    ]
    assert sum(ranges) / len(ranges) < 3


def test_a_job_that_fails_leaves_nothing_that_loads(
    opened: list[str],
    cfg: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("no room on disk")

    monkeypatch.setattr(masked_lm, "write_json", fail)
    with pytest.raises(RuntimeError, match="no room"):
        train_masked_lm(cfg(), data=tmp_path, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "either `architecture` or `pretrained`"),
        ({"architecture", "training", "pretrained"}, "either `architecture` or `pretrained`"),
        ({"architecture"}, "`training` belongs to `architecture`"),
        ({"pretrained", "training"}, "`training` belongs to `architecture`"),
    ],
)
def test_one_of_architecture_and_pretrained_is_needed(given: set[str], told: str) -> None:
    values = {
        "architecture": BertArchitecture(**ARCHITECTURE),
        "training": TrainingConfig(**TRAINING),
        "pretrained": PretrainedBert(name="bert-base-uncased"),
    }
    with pytest.raises(UserError, match=told):
        MaskedLMConfig(**{name: values[name] for name in given})


def test_a_pretrained_folder_goes_through_the_verb(
    data: Path, cfg: Callable[..., dict[str, Any]], parts: tuple[Any, Any], tmp_path: Path
) -> None:
    """The path that a user of BERT takes, with random weights of the same format."""
    source = tmp_path / "source"
    with quiet_transformers():
        for part in parts:
            part.save_pretrained(source)
    results = []
    for name in ("one", "other"):
        job = json.dumps(cfg(pretrained={"name": str(source)}))
        arguments = ["train-masked-lm", "--cfg", job, "--data", str(data)]
        done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / name)])
        assert done.exception is None, done.output
        results.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
        source = source.rename(tmp_path / "moved")
    one, other = results
    assert set(one) == set(FILES)
    assert all(one[name] == other[name] for name in set(FILES) - {"run.json"})
    assert one["history.csv"] == b"step,loss\n"
    assert 0 <= json.loads(one["metrics.json"])["dev_accuracy"] <= 1
    assert not any(str(tmp_path).encode() in content for content in one.values())
    for name in ("config.json", "tokenizer_config.json"):
        assert json.loads(one[name]) == json.loads((source / name).read_text())
    found = load_masked_lm(tmp_path / "one").predict(["a red dog"], k=3)
    expected = load_masked_lm(source).predict(["a red dog"], k=3)
    assert torch.equal(found[0].scores, expected[0].scores)


def test_a_pretrained_model_that_does_not_exist_is_told(
    cfg: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    job = cfg(pretrained={"name": "no/such/folder"})
    with pytest.raises(UserError, match=r"masked_lm\.pretrained: no/such/folder: no such folder"):
        train_masked_lm(job, data=tmp_path, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
