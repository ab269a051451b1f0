from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.augment.conftest import DATA_SEED, DATASET, Augment

from mmrobust.artifacts import sha256_file
from mmrobust.augment import AUGMENTERS, chunks
from mmrobust.augment.base import Made, Source, Sources
from mmrobust.augment.chunks import CHUNK_ITEMS, Job, build_augmenter, make_chunks, passes_over
from mmrobust.augment.human_captions import HumanCaptions
from mmrobust.augment.run import augment_data
from mmrobust.data.augmented import FILES, load_augmented
from mmrobust.data.prepared import Lexicon, Split, load_split, one_image_positives
from mmrobust.data.scenes.grammar import Propositions
from mmrobust.data.truth import truth_of
from mmrobust.errors import UserError
from mmrobust.training.masked_lm import train_masked_lm
from mmrobust.training.tokenizer import train_tokenizer

Cfg = Callable[..., dict[str, Any]]
OF_SCENES = [name for name in AUGMENTERS if name.startswith("scenes_")]


@pytest.mark.parametrize("method", ["human_captions", *OF_SCENES])
def test_every_row_says_where_it_comes_from(augment: Augment, data: Path, method: str) -> None:
    split, made = load_split(data, "train"), augment(method)
    items = made.items
    assert items["item"].tolist() == list(range(300)) * 2
    assert items["number"].tolist() == [0] * 300 + [1] * 300
    augmenter = build_augmenter({"method": method})
    first = np.searchsorted(split.caption_image, items["item"])
    expected = first if augmenter.reads == "caption" else np.full(600, -1)
    if method == "human_captions":  # which are those that they repeat
        expected = first + 1 + items["number"].to_numpy()
        assert items["caption"].tolist() == [split.captions[row] for row in expected]
    assert items["source_caption"].tolist() == expected.tolist()
    assert made.manifest["augmentation"] == {"method": method, "n": 2}
    assert made.manifest["code"] == "1"
    assert made.manifest["redistributable"]
    if augmenter.writes == "caption":
        assert made.images.shape == (0, 24, 24, 3)
        before = [split.captions[row] for row in first]
        changed = [text != old for text, old in zip(items["caption"], before, strict=True)]
        assert items["changed"].tolist() == changed
        assert np.mean(changed) > 0.9
    else:
        assert made.images.shape == (600, 24, 24, 3)
        assert items["caption"].isna().all()
        differ = (made.images[:300] != split.images[:]).reshape(300, -1).any(axis=1)
        assert differ.all()


@pytest.mark.parametrize("method", ["scenes_paraphrase", "scenes_caption"])
def test_truth_and_positives_are_the_datasets_own(
    augment: Augment, data: Path, method: str
) -> None:
    knob = {"misaligned": 0.3} if method == "scenes_paraphrase" else {"error_rate": 0.3}
    made = augment(method, **knob)
    truth = truth_of(DATASET, "train", data_seed=DATA_SEED)
    assert truth is not None
    captions, item = made.items["caption"].tolist(), made.items["item"].tolist()
    assert made.items["true"].tolist() == truth(captions, item).astype(int).tolist()
    dense = made.positives.toarray()
    assert dense.shape == (600, 300)
    for row in (0, 7, 333):
        expected = truth([captions[row]] * 300, range(300))
        assert dense[row].tolist() == expected.tolist()


@pytest.mark.parametrize("method", ["scenes_paraphrase", "scenes_render"])
def test_more_augmentations_begin_with_the_fewer(augment: Augment, method: str) -> None:
    few, many = augment(method, n=1), augment(method, n=3)
    first = many.first(1)
    assert first.items.equals(few.items)
    assert np.array_equal(first.images, few.images)
    assert np.array_equal(first.positives.toarray(), few.positives.toarray())


def test_bytes_depend_neither_on_processes_nor_on_chunks_at_hand(
    data: Path, tmp_path: Path, cfg: Cfg
) -> None:
    def run(name: str, work: str, **fields: Any) -> list[bytes]:
        section = cfg("scenes_paraphrase", 2, **fields)
        augment_data(section, data=data, out=tmp_path / name, work=tmp_path / work)
        return [(tmp_path / name / file).read_bytes() for file in FILES]

    one = run("one", "w1")
    assert run("two", "w2", workers=2) == one
    stored = sorted((tmp_path / "w1").iterdir())
    assert len(stored) == 4  # two chunks of items, twice
    stored[1].unlink()
    assert run("three", "w1") == one
    assert run("other", "w3", seed=1) != one


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many chunks each run had to make."""
    counts: list[int] = []

    def counting(job: Job, passes: Any, *, workers: int) -> Any:
        counts.append(len(passes))
        return make_chunks(job, passes, workers=workers)

    monkeypatch.setattr("mmrobust.augment.run.make_chunks", counting)
    return counts


def test_chunks_at_hand_are_not_made_again(
    data: Path, tmp_path: Path, cfg: Cfg, made: list[int]
) -> None:
    def run(folder: Path = data, **fields: Any) -> None:
        section = cfg("scenes_paraphrase", **fields)
        augment_data(section, data=folder, out=tmp_path / "out", work=tmp_path / "work")

    for fields in ({"n": 1}, {"n": 1}, {"n": 3}, {"n": 3, "workers": 2}, {"n": 1, "code": "2"}):
        run(**fields)
    run(n=1, rare_word_rate=0.5)
    assert made == [2, 0, 4, 0, 2, 2]


def test_chunks_of_other_data_or_draws_are_made_anew(
    data: Path, tmp_path: Path, cfg: Cfg, made: list[int]
) -> None:
    """All have one folder of chunks, and pictures may differ where captions are the same."""
    from mmrobust.data.scenes.dataset import Scenes

    fields: dict[str, Any] = {k: v for k, v in DATASET.items() if k != "name"}
    Scenes(**fields).prepare(tmp_path / "other", seed=8)
    Scenes(**fields, pixel_noise=0.2).prepare(tmp_path / "noisy", seed=DATA_SEED)
    assert load_split(tmp_path / "noisy", "train").captions == load_split(data, "train").captions

    def run(method: str, folder: Path = data, data_seed: int = DATA_SEED, **entry: Any) -> None:
        section = cfg(method, 1, **entry) | {"data_seed": data_seed}
        augment_data(section, data=folder, out=tmp_path / "out", work=tmp_path / "work")

    run("eda")
    run("eda", seed=1)
    run("eda", data_seed=8)
    run("eda", tmp_path / "other")
    run("randaugment")
    run("randaugment", tmp_path / "noisy")
    assert made == [2] * 6


def test_every_chunk_of_every_pass_has_draws_of_its_own(
    augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def opened(*_: Any) -> Any:
        def generate(sources: Sources, rng: np.random.Generator) -> Made:
            drawn.append(int(rng.integers(2**60)))
            return Made(["a ring"] * len(sources.items))

        return generate

    monkeypatch.setattr("mmrobust.augment.eda.EDA.open", opened)
    monkeypatch.setattr(chunks, "_OPENED", {})
    monkeypatch.setattr(chunks, "CHUNK_ITEMS", 100)
    augment("eda", n=2)
    assert len(drawn) == len(set(drawn)) == 6


@pytest.mark.parametrize("said", [99, 101])
def test_an_augmenter_that_says_too_little_or_too_much_is_told(
    augment: Augment, monkeypatch: pytest.MonkeyPatch, said: int
) -> None:
    def opened(*_: Any) -> Any:
        return lambda sources, rng: Made(["a ring"] * said)

    monkeypatch.setattr("mmrobust.augment.eda.EDA.open", opened)
    monkeypatch.setattr(chunks, "_OPENED", {})
    monkeypatch.setattr(chunks, "CHUNK_ITEMS", 100)
    with pytest.raises(UserError) as error:
        augment("eda", n=1)
    assert str(error.value) == (
        f"augmentation method 'eda': {said} captions of 100 items, wanted: one of each"
    )


def test_a_repeat_is_made_once(data: Path, tmp_path: Path, cfg: Cfg, made: list[int]) -> None:
    section = cfg("scenes_paraphrase", 4, distinct=2)
    augment_data(section, data=data, out=tmp_path / "out", work=tmp_path / "work")
    assert len(list((tmp_path / "work").iterdir())) == 4
    assert made == [4]
    captions = load_augmented(tmp_path / "out", data=data).items["caption"].to_numpy()
    assert (captions[:600] == captions[600:]).all()
    assert (captions[:300] != captions[300:600]).mean() > 0.9


def test_a_model_that_says_nothing_leaves_the_first_caption(
    data: Path, tmp_path: Path, cfg: Cfg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmrobust.augment.scenes_paraphrase.speak", lambda *_, **__: [" "] * 256)
    monkeypatch.setattr(chunks, "CHUNK_ITEMS", 256)
    section = cfg("scenes_paraphrase", 1)
    section["dataset"] = {**DATASET, "splits": {"train": 256, "dev": 4, "test": 4}}
    from mmrobust.data.scenes.dataset import Scenes

    fields: dict[str, Any] = {k: v for k, v in section["dataset"].items() if k != "name"}
    small = tmp_path / "small"
    Scenes(**fields).prepare(small, seed=DATA_SEED)
    augment_data(section, data=small, out=tmp_path / "out", work=tmp_path / "work")
    items = load_augmented(tmp_path / "out", data=small).items
    assert items["caption"].tolist() == load_split(small, "train").captions[::3]
    assert not items["changed"].any()


def test_blanks_become_single_spaces(
    data: Path, augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spaced(meant: Propositions, *_: object, **__: object) -> list[str]:
        return ["  a  red ring\n"] * len(meant.colour)

    monkeypatch.setattr("mmrobust.augment.scenes_paraphrase.speak", spaced)
    for caption in augment("scenes_paraphrase", n=1).items["caption"]:
        assert caption == "a red ring"


def test_chunks_cover_every_item_once() -> None:
    passes = passes_over(2 * CHUNK_ITEMS + 1, 2)
    assert [(one.number, one.start, one.stop) for one in passes[:3]] == [
        (0, 0, CHUNK_ITEMS),
        (0, CHUNK_ITEMS, 2 * CHUNK_ITEMS),
        (0, 2 * CHUNK_ITEMS, 2 * CHUNK_ITEMS + 1),
    ]
    assert [one.number for one in passes] == [0, 0, 0, 1, 1, 1]


def test_too_few_human_captions_are_told(augment: Augment) -> None:
    with pytest.raises(UserError, match="human_captions: image 0 has 3 captions, so `n` is at mos"):
        augment("human_captions", n=3)


def test_the_image_with_too_few_human_captions_is_named() -> None:
    owner = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
    split = Split(
        images=np.zeros((3, 1, 1, 3), np.uint8),
        captions=[f"caption {row}" for row in range(9)],
        caption_image=owner,
        positives=one_image_positives(owner, 3),
    )
    lexicon = Lexicon(synonyms={}, alternatives={}, antonyms={}, stop_words=frozenset())
    source = Source(split=split, lexicon=lexicon, dataset={}, data_seed=0, device="cpu")
    generate, items = HumanCaptions().open(source), np.arange(3)
    first, rng = np.array([0, 3, 5]), np.random.default_rng(0)
    made = generate(Sources(items, first, 0), rng)
    assert list(made.values) == ["caption 1", "caption 4", "caption 6"]
    with pytest.raises(UserError, match=r"image 1 has 2 captions, so `n` is at most 1$"):
        generate(Sources(items, first, 1), rng)


def test_a_set_has_the_licence_of_its_dataset(data: Path, tmp_path: Path, cfg: Cfg) -> None:
    from mmrobust.artifacts import read_json, write_json

    closed = tmp_path / "closed"
    shutil.copytree(data, closed)
    manifest = read_json(closed / "manifest.json")
    write_json(closed / "manifest.json", manifest | {"redistributable": False, "licence": "mine"})
    augment_data(cfg("eda", 1), data=closed, out=tmp_path / "out", work=tmp_path / "work")
    made = load_augmented(tmp_path / "out", data=closed).manifest
    assert (made["redistributable"], made["licence"]) == (False, "mine")


def test_a_picture_that_stayed_is_told(augment: Augment, data: Path) -> None:
    made, split = augment("randaugment", n=1, operations=1), load_split(data, "train")
    same = (made.images == split.images[:]).reshape(300, -1).all(axis=1)
    assert 0.3 < same.mean() < 0.8  # half of the operations aren't applied
    assert made.items["changed"].tolist() == (~same).tolist()


def test_another_lexicon_or_other_weights_make_other_chunks(
    data: Path, tmp_path: Path, cfg: Cfg
) -> None:
    from mmrobust.artifacts import read_json, write_json
    from mmrobust.augment.chunks import Job

    (tmp_path / "model" / "unet").mkdir(parents=True)
    weights = tmp_path / "model" / "unet" / "weights"
    weights.write_text("one")

    def key(entry: dict[str, Any], folder: Path = data) -> str:
        settings = {"dataset": DATASET, "data_seed": DATA_SEED, "device": "cpu", "threads": 1}
        return Job(entry=entry, data=folder, code="1", work=tmp_path, **settings).key

    drawing = {"method": "captioner", "model": str(tmp_path / "model"), "n": 1}
    before = key(drawing)
    weights.write_text("other")
    assert key(drawing) != before
    other = tmp_path / "other"
    shutil.copytree(data, other)
    manifest = read_json(other / "manifest.json")
    manifest["sha256"]["lexicon.json"] = "0" * 64
    write_json(other / "manifest.json", manifest)
    assert key({"method": "eda", "n": 1}, other) != key({"method": "eda", "n": 1})
    assert key({"method": "eda", "n": 3, "workers": 2}) == key({"method": "eda", "n": 1})


def test_a_set_of_other_data_is_refused(data: Path, tmp_path: Path, cfg: Cfg) -> None:
    from mmrobust.data.scenes.dataset import Scenes

    augment_data(cfg("human_captions", 1), data=data, out=tmp_path / "o", work=tmp_path / "w")
    other = tmp_path / "other"
    Scenes(splits={"train": 8, "dev": 4, "test": 4}, image_size=24).prepare(other, seed=1)
    with pytest.raises(UserError, match="made from other data than"):
        load_augmented(tmp_path / "o", data=other)
    (tmp_path / "o" / "items.parquet").write_bytes(b"")
    with pytest.raises(UserError, match=r"items\.parquet: differs from manifest\.json"):
        load_augmented(tmp_path / "o", data=data)


def test_pictures_are_gathered_a_chunk_at_a_time(augment: Augment, data: Path) -> None:
    first = augment("scenes_render", n=1, distinct=1)
    tracemalloc.start()
    try:
        many = augment("scenes_render", n=48, distinct=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < many.images.nbytes / 2
    assert many.images.shape == (48 * 300, 24, 24, 3)
    for number in (0, 31, 47):
        assert np.array_equal(many.images[300 * number :][:300], first.images)
    assert many.items["true"].all()


@pytest.mark.parametrize("method", ["human_captions", "eda", "randaugment", *OF_SCENES])
def test_nothing_comes_from_items_outside_training(
    data: Path, tmp_path: Path, cfg: Cfg, method: str
) -> None:
    """What isn't there can't be read: the same bytes are made without the other splits."""
    alone = tmp_path / "alone"
    shutil.copytree(data, alone, ignore=shutil.ignore_patterns("dev", "test"))
    assert (data / "test").is_dir()
    made = []
    for at, folder in enumerate((data, alone)):
        out = tmp_path / f"out{at}"
        augment_data(cfg(method, 1), data=folder, out=out, work=tmp_path / f"work{at}")
        made.append([(out / name).read_bytes() for name in FILES])
    assert made[0] == made[1]
    assert len(load_augmented(tmp_path / "out1", data=alone).items) == 300


@pytest.mark.parametrize(("split", "learned"), [("train", True), ("test", False)])
def test_a_rare_word_of_a_test_caption_is_learned_nowhere(
    data: Path, tmp_path: Path, cfg: Cfg, split: str, learned: bool
) -> None:
    """And one of the training captions everywhere, or this would be seen nowhere."""
    planted = tmp_path / "planted"
    shutil.copytree(data, planted)
    file = planted / split / "captions.parquet"
    table = pq.read_table(file)
    captions = [f"zyzzyva {caption}" for caption in table["caption"].to_pylist()]
    pq.write_table(table.set_column(0, "caption", pa.array(captions, pa.string())), file)
    manifest = json.loads((planted / "manifest.json").read_text(encoding="utf-8"))
    manifest["sha256"][f"{split}/{file.name}"] = sha256_file(file)
    (planted / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    augment_data(cfg("eda", 1), data=planted, out=tmp_path / "eda", work=tmp_path / "work")
    train_tokenizer({"vocab_size": 300}, data=planted, out=tmp_path / "tokenizer.json")
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    architecture = {"vocab_size": 300, "max_position_embeddings": 64, **size}
    training = {"epochs": 1, "batch_size": 64, "learning_rate": 0.001}
    section = {"architecture": architecture, "training": training}
    train_masked_lm(
        {"masked_lm": section, "threads": 1, "device": "cpu"}, data=planted, out=tmp_path / "lm"
    )
    told = load_augmented(tmp_path / "eda", data=planted).items["caption"].str.contains("zyzzyva")
    vocabularies = [
        json.loads((tmp_path / name).read_text(encoding="utf-8"))["model"]["vocab"]
        for name in ("tokenizer.json", "lm/tokenizer.json")
    ]
    words = [any(word.startswith("zyzzyva") for word in of) for of in vocabularies]
    assert [told.any(), *words] == [learned] * 3
