from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from mmrobust.artifacts import building, move_built, read_json
from mmrobust.augment import measure
from mmrobust.augment.measure import counted_numbers, measure_augmentation
from mmrobust.augment.over_items import OverItems
from mmrobust.augment.run import augment_data
from mmrobust.config import build
from mmrobust.data.augmented import (
    FILES,
    Augmented,
    load_augmented,
    open_images,
    train_digests,
    write_augmented,
)
from mmrobust.data.prepared import (
    Lexicon,
    Split,
    load_split,
    one_image_positives,
    write_prepared,
)
from mmrobust.errors import UserError
from mmrobust.models.dual_encoder import ModelConfig, build_model, save_model
from mmrobust.models.tokenizer import TokenizerConfig, save_tokenizer, train_tokenizer

MODEL = {
    "architecture": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
        "text_cfg": {"context_length": 40, "width": 16, "heads": 2, "layers": 1},
    }
}

COLOURS = ("red", "green", "blue")

Rows = pd.DataFrame
Measure = Callable[..., Rows]


class ColourJudge(nn.Module):
    """Embeds a picture as its mean colour, and a caption as the first colour that it names."""

    device = torch.device("cpu")

    def encode_image(self, images: Tensor) -> Tensor:
        return nn.functional.normalize(images.mean(dim=(2, 3)), dim=-1)

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        colours = [next(word for word in text.split() if word in COLOURS) for text in captions]
        return torch.tensor([[1 + COLOURS.index(colour)] for colour in colours])

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        return torch.eye(3)[tokens[:, 0] - 1]


def squares(colours: Sequence[int]) -> np.ndarray:
    """Pictures uint8 (n, 4, 4, 3) of one colour each."""
    pictures = np.zeros((len(colours), 4, 4, 3), np.uint8)
    pictures[np.arange(len(colours)), :, :, list(colours)] = 255
    return pictures


@pytest.fixture(scope="session")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve squares of three colours, with captions of a word and of two."""
    folder = tmp_path_factory.mktemp("coloured")
    colours = np.arange(12) % 3
    captions = [text for c in colours for text in (COLOURS[c], f"{COLOURS[c]} square")]
    owner = np.repeat(np.arange(12), 2)
    split = Split(squares(colours), captions, owner, one_image_positives(owner, 12))
    write_prepared(
        folder,
        {"train": split, "dev": split, "test": split},
        lexicon=Lexicon(synonyms={}, alternatives={}, antonyms={}, stop_words=frozenset()),
        dataset="coloured",
        licence="none",
        redistributable=True,
        source_resolution=None,
    )
    return folder


def store(out: Path, augmented: Augmented) -> None:
    with building(out) as folder:
        with open_images(folder, augmented.images.shape) as stream:
            stream.write(augmented.images.tobytes())
        write_augmented(folder, augmented)
        move_built(folder, out, FILES)


def write_set(out: Path, data: Path, *, captions: Sequence[str], images: np.ndarray) -> None:
    """An augmented set of twelve items, by number and then by item."""
    total = max(len(captions), len(images))
    items = pd.DataFrame(
        {
            "item": np.arange(total) % 12,
            "number": np.arange(total) // 12,
            "source_caption": -1,
            "caption": captions or None,
            "changed": True,
            "true": -1,
        }
    )
    positives = sp.csr_array((len(captions), 12), dtype=np.bool_)
    manifest = {
        "writes": "caption" if captions else "image",
        "dataset_sha256": train_digests(data),
    }
    store(out, Augmented(items, images, positives, manifest))


@pytest.fixture
def judged_by_colour(
    coloured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Rows]:
    """Measure captions or pictures of the coloured squares with the judge that knows colours."""
    monkeypatch.setattr(measure, "load_model", lambda folder: ColourJudge())

    def run(*, captions: Sequence[str] = (), images: np.ndarray | None = None) -> Rows:
        empty = np.empty((0, 4, 4, 3), np.uint8)
        pictures = empty if images is None else images
        write_set(tmp_path / "set", coloured, captions=captions, images=pictures)
        return measured("set", coloured, tmp_path / "set", tmp_path / "judge", tmp_path)

    return run


def measured(
    name: str, data: Path, augmented: Path, judge: Path, folder: Path, **fields: Any
) -> Rows:
    out = folder / f"{name}.json"
    cfg = {"name": name, "threads": 1, "device": "cpu", **fields}
    measure_augmentation(cfg, data=data, augmented=augmented, judge=judge, out=out)
    return pd.DataFrame(read_json(out)["rows"]).set_index(["n", "measure"])


@pytest.fixture(scope="session")
def judge(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dual encoder of random weights."""
    folder = tmp_path_factory.mktemp("judge")
    trained = train_tokenizer(load_split(data, "train").captions, TokenizerConfig(vocab_size=150))
    save_tokenizer(trained, folder / "learnt.json")
    config = build(ModelConfig, MODEL, where="model")
    model = build_model(config, tokenizer=folder / "learnt.json", seed=1)
    save_model(folder, model, config, tokenizer=folder / "learnt.json")
    return folder


@pytest.fixture
def measure_scenes(
    data: Path, judge: Path, tmp_path: Path, cfg: Callable[..., dict[str, Any]]
) -> Measure:
    """Augment `scenes` and measure the set, on 60 items unless `told` otherwise."""

    def run(method: str, n: int, told: dict[str, Any] | None = None, **fields: Any) -> Rows:
        augment_data(cfg(method, n, **fields), data=data, out=tmp_path / "set", work=tmp_path)
        return measured(
            "set", data, tmp_path / "set", judge, tmp_path, **{"max_items": 60, **(told or {})}
        )

    return run


def test_numbers_are_doubled_up_to_all() -> None:
    assert [counted_numbers(n) for n in (1, 2, 5, 8)] == [
        *([1], [1, 2], [1, 2, 4, 5], [1, 2, 4, 8])
    ]


def test_alignment_of_captions_of_which_half_name_another_colour(
    judged_by_colour: Callable[..., Rows],
) -> None:
    wrong = [COLOURS[(i + (i < 6)) % 3] for i in range(12)]
    right = [f"big {COLOURS[i % 3]} square" for i in range(12)]
    rows = judged_by_colour(captions=[*wrong, *right])
    value = rows["value"]
    assert value[1, "alignment"] == 0.5
    assert value[2, "alignment"] == 0.75
    assert value[2, "alignment_original"] == 1
    assert value[2, "alignment_difference"] == -0.25
    assert value[2, "alignment_ratio"] == 0.75
    assert rows.low[1, "alignment"] < 0.5 < rows.high[1, "alignment"] < 1
    assert rows.high[1, "alignment_ratio"] < 1
    assert pd.isna(value[1, "true_share"])
    # The two captions of six items are orthogonal, and of the others equal.
    assert value[2, "embedding_spread"] == 0.5
    # With the original there are three pairs, of which two differ.
    assert value[2, "embedding_spread_with_original"] == pytest.approx((6 * 2 / 3) / 12)
    # Of one and three words; the dataset's own have one and two.
    assert value[1, "median_length_difference"] == -0.5
    assert value[2, "median_length_difference"] == 0.5
    # One word against its caption, or against the other colour's.
    assert value[1, "self_bleu_diversity_with_original"] == 0.5
    assert set(rows.modality) == {"caption"}


def test_alignment_of_pictures_of_which_half_have_another_colour(
    judged_by_colour: Callable[..., Rows],
) -> None:
    wrong = squares([(i + (i < 6)) % 3 for i in range(12)])
    rows = judged_by_colour(images=np.concatenate([wrong, squares(np.arange(12) % 3)]))
    value = rows["value"]
    assert value[1, "alignment"] == 0.5
    assert value[2, "alignment"] == 0.75
    assert value[1, "alignment_original"] == 1
    assert value[2, "embedding_spread"] == 0.5
    # Between two colours, two channels of three differ, and by all there is.
    assert value[2, "pixel_difference"] == pytest.approx(1 / 3)
    assert value[1, "pixel_difference_with_original"] == pytest.approx(1 / 3)
    assert value[2, "pixel_difference_with_original"] == pytest.approx(2 / 9)
    assert pd.isna(value[1, "pixel_difference"])
    assert set(rows.modality) == {"image"}


def test_what_is_far_from_the_dataset_has_a_larger_gap(
    judged_by_colour: Callable[..., Rows],
) -> None:
    """All squares red, or all captions."""
    for rows in (
        judged_by_colour(captions=["red"] * 12),
        judged_by_colour(images=squares([0] * 12)),
    ):
        value = rows["value"]
        for name in ("frechet_distance", "mmd2"):
            assert value[1, name] > 2 * abs(value[1, f"{name}_floor"]) + 0.1
            assert pd.isna(rows.low[1, name])


def test_copies_of_the_pictures_have_the_gap_of_the_floor(
    judged_by_colour: Callable[..., Rows],
) -> None:
    value = judged_by_colour(images=squares([*np.arange(12) % 3] * 3))["value"]
    for n in (1, 2, 3):
        for name in ("frechet_distance", "mmd2"):
            assert value[n, name] == pytest.approx(value[n, f"{name}_floor"])


def test_the_gap_is_of_all_augmentations_that_are_counted(
    judged_by_colour: Callable[..., Rows],
) -> None:
    """The first captions are the right ones and have no gap; the second ones are all red."""
    colours = [COLOURS[i % 3] for i in range(12)]
    value = judged_by_colour(captions=[*colours, *["red"] * 12])["value"]
    for name in ("frechet_distance", "mmd2"):
        assert value[2, name] > value[1, name] + 0.05


def test_originals_are_references_and_not_scored(judged_by_colour: Callable[..., Rows]) -> None:
    """One of three words is found, no pair and no triple; the original would have all of its."""
    rows = judged_by_colour(captions=[f"big {COLOURS[i % 3]} square" for i in range(12)])
    expected = 1 - (1 / 3 * 0.1 / 2 * 0.1 / 1) ** (1 / 3)
    assert rows["value"][1, "self_bleu_diversity_with_original"] == pytest.approx(expected)


@pytest.mark.parametrize("method", ["scenes_paraphrase", "scenes_render"])
def test_exactly_the_misaligned_half_is_false(measure_scenes: Measure, method: str) -> None:
    rows = measure_scenes(method, 4, told={"max_items": 300}, misaligned=0.5)
    rows = rows.xs("true_share", level="measure")
    assert rows.index.tolist() == [1, 2, 4]
    assert rows["value"].tolist() == [0.5] * 3
    assert (rows["items"] == 300).all()
    width = (rows.high - rows.low).tolist()
    assert 0.12 > width[0] >= width[1] >= width[2] > 0.01
    # Pictures are misaligned one by one, an item's paraphrases together.
    assert (width[0] == width[2]) == (method == "scenes_paraphrase")


def test_misaligned_paraphrases_are_as_diverse_as_aligned_ones(measure_scenes: Measure) -> None:
    for name in ("self_bleu_diversity", "embedding_spread"):
        aligned, wrong = (
            measure_scenes("scenes_paraphrase", 4, misaligned=share)["value"][4, name]
            for share in (0.0, 1.0)
        )
        assert wrong == pytest.approx(aligned, rel=0.2)


def test_copies_are_not_diverse(measure_scenes: Measure) -> None:
    captions = measure_scenes("scenes_paraphrase", 4, distinct=1)["value"]
    for n in (2, 4):
        assert captions[n, "embedding_spread"] == pytest.approx(0, abs=1e-9)
        assert captions[n, "self_bleu_diversity"] == 0
        assert captions[n, "distinct_1"] == pytest.approx(captions[1, "distinct_1"] / n)
        assert captions[n, "embedding_spread_with_original"] > 1e-3
    assert captions[1, "self_bleu_diversity_with_original"] > 0.1
    pictures = measure_scenes("scenes_render", 2, distinct=1)["value"]
    assert pictures[2, "pixel_difference"] == 0
    assert pictures[2, "embedding_spread"] == pytest.approx(0, abs=1e-6)
    assert pictures[2, "pixel_difference_with_original"] > 1e-3


def test_more_distinct_paraphrases_are_more_diverse(measure_scenes: Measure) -> None:
    rows = [measure_scenes("scenes_paraphrase", 4, distinct=k) for k in (1, 2, 4)]
    for name in ("embedding_spread", "distinct_1", "distinct_2"):
        values = [found["value"][4, name] for found in rows]
        assert values[0] < values[1] < values[2], name
        assert rows[1].low[4, name] > rows[0].high[4, name]
    # Each of two captions that come twice is found whole among the others.
    bleu = [found["value"][4, "self_bleu_diversity"] for found in rows]
    assert bleu[:2] == [0, 0]
    assert bleu[2] > 0.1


def test_one_augmentation_is_diverse_only_beside_its_original(measure_scenes: Measure) -> None:
    value = measure_scenes("scenes_caption", 1)["value"]
    assert pd.isna(value[1, "embedding_spread"])
    assert pd.isna(value[1, "self_bleu_diversity"])
    assert value[1, "embedding_spread_with_original"] > 0
    assert value[1, "self_bleu_diversity_with_original"] > 0


def test_rows_of_few_are_those_of_a_smaller_set(measure_scenes: Measure) -> None:
    small = measure_scenes("scenes_paraphrase", 2)
    large = measure_scenes("scenes_paraphrase", 3)
    assert large.index.unique("n").tolist() == [1, 2, 3]
    for column in ("value", "low", "high"):
        expected = small[column].astype(float)
        assert large.loc[:2, column].astype(float).to_numpy() == pytest.approx(
            expected.to_numpy(), abs=1e-6, nan_ok=True
        )


def test_sets_are_measured_on_the_same_items(measure_scenes: Measure) -> None:
    told = {"max_items": 40, "seed": 3}
    one = measure_scenes("scenes_paraphrase", 1, told=told)
    other = measure_scenes("scenes_caption", 1, told=told)
    others = measure_scenes("scenes_caption", 1, told={**told, "seed": 4})
    whole = measure_scenes("scenes_caption", 1, told={"max_items": 1000})
    assert (whole["items"] == 300).all()
    assert (one["items"] == 40).all()
    assert one["value"][1, "alignment_original"] == pytest.approx(
        other["value"][1, "alignment_original"], abs=1e-6
    )
    for differing in (others, whole):
        assert one["value"][1, "alignment_original"] != pytest.approx(
            differing["value"][1, "alignment_original"], abs=1e-5
        )


def test_items_are_told_apart(
    data: Path, judge: Path, tmp_path: Path, measure_scenes: Measure
) -> None:
    """Measured on a part of the items, pictures and captions are those of these items."""
    told = {"max_items": 40}
    copied = measure_scenes("human_captions", 1, told=told)["value"]
    assert copied[1, "true_share"] == 1
    made = load_augmented(tmp_path / "set", data=data)
    split = load_split(data, "train")
    firsts = np.searchsorted(split.caption_image, made.items["item"])
    made.items["caption"] = [split.captions[row] for row in firsts]
    store(tmp_path / "copies", made)
    value = measured("copies", data, tmp_path / "copies", judge, tmp_path, **told)["value"]
    assert value[1, "embedding_spread_with_original"] == pytest.approx(0, abs=1e-9)
    assert value[1, "self_bleu_diversity_with_original"] == 0
    assert value[1, "alignment_difference"] == 0


def test_the_same_bytes_come_again(
    data: Path, judge: Path, tmp_path: Path, measure_scenes: Measure
) -> None:
    measure_scenes("scenes_draw", 2)
    before = (tmp_path / "set.json").read_bytes()
    measured("set", data, tmp_path / "set", judge, tmp_path, max_items=60)
    assert (tmp_path / "set.json").read_bytes() == before


def test_set_of_another_dataset_is_refused(
    data: Path, coloured: Path, judge: Path, tmp_path: Path
) -> None:
    write_set(tmp_path / "set", coloured, captions=["red"] * 12, images=np.empty((0, 4, 4, 3)))
    with pytest.raises(UserError, match="made from other data"):
        measured("set", data, tmp_path / "set", judge, tmp_path)
    assert not (tmp_path / "set.json").exists()


def test_measuring_nothing_is_refused(measure_scenes: Measure) -> None:
    with pytest.raises(UserError, match=r"measure-augmentation\.max_items"):
        measure_scenes("human_captions", 1, told={"max_items": 0})


def test_interval_of_a_mean_covers_it() -> None:
    """95 % intervals of the mean of 80 skewed values hold it in 90 to 99 % of 300 draws."""
    rng = np.random.default_rng(0)
    covered = 0
    for repetition in range(300):
        found = OverItems(80, repetition).mean(rng.exponential(size=80))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 1 <= found.high
    assert 0.90 <= covered / 300 <= 0.99


def test_values_that_are_undefined_are_left_out() -> None:
    found = OverItems(4, 0).mean(np.array([1.0, np.nan, 3.0, np.nan]))
    assert (found.value, found.items) == (2, 2)
    assert OverItems(4, 0).mean(None).value is None
    assert OverItems(2, 0).mean(np.full(2, np.nan)).items == 0


def test_ratio_is_paired_by_item() -> None:
    before = np.random.default_rng(0).uniform(0.2, 1, size=200)
    found = OverItems(200, 0).ratio(0.5 * before, before)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_ratio_is_that_of_the_means() -> None:
    top, bottom = np.tile([1.0, 3.0], 50), np.tile([1.0, 0.5], 50)
    assert OverItems(100, 0).ratio(top, bottom).value == pytest.approx(2 / 0.75)


def test_resamples_are_those_of_the_seed() -> None:
    values = np.random.default_rng(0).exponential(size=80)
    one, same, other = (OverItems(80, seed).mean(values) for seed in (1, 1, 2))
    assert one == same
    assert (one.low, one.high) != (other.low, other.high)


def test_ratio_to_what_may_be_0_is_undefined() -> None:
    around_zero = np.tile([1.0, -1.0], 50) + 0.01
    assert OverItems(100, 0).ratio(np.ones(100), around_zero).value is None


@pytest.mark.parametrize(("share", "low", "high"), [(1.0, 0.9638, 1.0), (0.0, 0.0, 0.0362)])
def test_shares_that_agree_get_the_exact_interval(share: float, low: float, high: float) -> None:
    found = OverItems(100, 0).share(np.full(100, share))
    assert found.value == share
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_single_item_has_a_value_and_no_interval() -> None:
    found = OverItems(1, 0).mean(np.array([0.3]))
    assert (found.value, found.low, found.high) == (0.3, None, None)
