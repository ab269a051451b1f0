from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.extras.conftest import DATA_SEED, DATASET

from mmrobust.augment.base import Sources
from mmrobust.augment.chunks import build_augmenter
from mmrobust.augment.diffusion import DRAWS
from mmrobust.augment.run import augment_data
from mmrobust.data.augmented import load_augmented
from mmrobust.data.prepared import load_split
from mmrobust.errors import UserError

METHODS = ("text_diffusion", "image_diffusion")
CAPTIONS = ["a red ring", "two blue stars", "a cat", "a dog on grass", "a red ring"]
SIZE, SIDE = 24, 20  # the model's own size is 32


def pictures() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)


def drawn(
    method: str,
    model: Path,
    *,
    images: np.ndarray | None = None,
    captions: list[str] = CAPTIONS,
    seed: int = 0,
    **fields: Any,
) -> np.ndarray:
    entry = {"method": method, "model": str(model), "size": SIZE, "steps": 4, "batch_size": 2}
    images = pictures() if images is None else images
    source: Any = SimpleNamespace(
        split=SimpleNamespace(images=images, captions=captions), device="cpu"
    )
    rows = np.arange(len(images))
    generate = build_augmenter(entry | fields).open(source)
    made = generate(Sources(rows, rows, 0), np.random.default_rng(seed))
    assert made.true is None
    values = np.asarray(made.values)
    assert values.dtype == np.uint8
    assert values.shape == images.shape
    return values


def pipeline_of(method: str, model: Path) -> Any:
    from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline

    image = method == "image_diffusion"
    return (StableDiffusionImg2ImgPipeline if image else StableDiffusionPipeline).from_pretrained(
        model
    )


def differ(a: np.ndarray, b: np.ndarray) -> list[bool]:
    """Which pictures differ by more than rounding."""
    return (np.abs(a.astype(int) - b).reshape(len(a), -1).max(axis=1) > 1).tolist()


@pytest.mark.parametrize("method", METHODS)
def test_pictures_are_the_pipelines_own_resized(method: str, diffusion_model: Path) -> None:
    made = drawn(method, diffusion_model, guidance_scale=5.0)
    pipeline = pipeline_of(method, diffusion_model)
    seeds = np.random.default_rng(0).integers(2**63, size=(5, DRAWS))[:, 0]
    for row in range(5):
        options: dict[str, Any] = {"height": SIZE, "width": SIZE}
        if method == "image_diffusion":
            opened = Image.fromarray(pictures()[row]).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            options = {"image": opened, "strength": 0.5}
        [expected] = pipeline(
            CAPTIONS[row],
            num_inference_steps=4,
            guidance_scale=5.0,
            generator=torch.Generator().manual_seed(int(seeds[row])),
            **options,
        ).images
        assert expected.size == (SIZE, SIZE)
        small = np.asarray(expected.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        assert not any(differ(made[row][None], small[None]))
        assert small.std() > 5


@pytest.mark.parametrize("method", METHODS)
def test_the_same_generator_draws_the_same_in_any_batches(
    method: str, diffusion_model: Path
) -> None:
    before = torch.get_rng_state()
    first = drawn(method, diffusion_model)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert np.array_equal(drawn(method, diffusion_model), first)
    for batch_size in (1, 3, 8):
        assert not any(differ(drawn(method, diffusion_model, batch_size=batch_size), first))
    assert all(differ(drawn(method, diffusion_model, seed=1), first))


@pytest.mark.parametrize("method", METHODS)
def test_captions_lead_and_pictures_only_if_read(method: str, diffusion_model: Path) -> None:
    first = drawn(method, diffusion_model, guidance_scale=200.0)
    other = drawn(method, diffusion_model, captions=["a red ring"] * 5, guidance_scale=200.0)
    assert differ(first, other) == [False, True, True, True, False]
    inverted = drawn(method, diffusion_model, images=255 - pictures(), guidance_scale=200.0)
    assert differ(first, inverted) == [method == "image_diffusion"] * 5


def test_the_stronger_the_less_is_left_of_the_picture(diffusion_model: Path) -> None:
    def distance(strength: float) -> float:
        both = [
            drawn("image_diffusion", diffusion_model, images=images, strength=strength)
            for images in (pictures(), 255 - pictures())
        ]
        return float(np.abs(both[0].astype(int) - both[1]).mean())

    assert distance(1.0) < distance(0.25) / 2


@pytest.mark.parametrize("method", METHODS)
def test_it_augments_a_dataset(
    method: str, diffusion_model: Path, data: Path, tmp_path: Path
) -> None:
    fields = {"model": str(diffusion_model), "size": SIZE, "steps": 2}
    section = {
        "augmentation": {"method": method, "n": 2, **fields},
        "dataset": DATASET,
        "data_seed": DATA_SEED,
        "device": "cpu",
        "threads": 1,
        "code": "1",
    }
    augment_data(section, data=data, out=tmp_path / "out", work=tmp_path / "work")
    made = load_augmented(tmp_path / "out", data=data)
    split = load_split(data, "train")
    assert made.images.shape == (12, *split.images.shape[1:])
    assert all(differ(made.images[:6], made.images[6:]))
    assert made.items["item"].tolist() == [*range(6), *range(6)]
    # a caption leads what is painted over, too
    assert made.items["source_caption"].tolist() == [2 * i for i in range(6)] * 2
    assert made.manifest["augmentation"] == {"method": method, "n": 2, **fields}


def set_thresholds(model: Path, to: Path, value: float) -> Path:
    """A copy of the model whose safety checker refuses pictures with cosines above a value."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, to)
    path = to / "safety_checker" / "model.safetensors"
    weights = load_file(path)
    weights["concept_embeds_weights"].fill_(value)
    save_file(weights, path, metadata={"format": "pt"})
    return to


def test_pictures_that_are_always_refused_end_the_run(
    diffusion_model: Path, tmp_path: Path
) -> None:
    model = set_thresholds(diffusion_model, tmp_path / "strict", -2.0)
    assert not np.any(pipeline_of("text_diffusion", model)("a cat", num_inference_steps=1).images)
    with pytest.raises(UserError) as caught:
        drawn("text_diffusion", model, steps=1)
    assert str(caught.value) == (
        "augmentations: text_diffusion: the model's safety checker refused all 10 pictures of "
        "'a red ring'; take another `seed` or another `model`"
    )


def test_a_refused_picture_is_drawn_again(
    diffusion_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures that start with certain noise are blackened; the others stay as they were."""
    from diffusers import StableDiffusionPipeline

    free = drawn("text_diffusion", diffusion_model, guidance_scale=1.0)
    second = np.random.default_rng(0).integers(2**63, size=(5, DRAWS))[:, 1]
    unwanted = {tuple(picture.ravel()[:9]) for picture in free[[1, 4]]}
    own = StableDiffusionPipeline.__call__
    calls = []

    def checked(self: Any, **named: Any) -> Any:
        calls.append([generator.initial_seed() for generator in named["generator"]])
        done = own(self, **named)
        small = [picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC) for picture in done.images]
        bad = [tuple(np.asarray(one).ravel()[:9]) in unwanted for one in small]
        done.nsfw_content_detected = bad
        for place, refused in enumerate(bad):
            if refused:
                done.images[place] = Image.new("RGB", (SIZE, SIZE))
        return done

    monkeypatch.setattr(StableDiffusionPipeline, "__call__", checked)
    made = drawn("text_diffusion", diffusion_model, guidance_scale=1.0)
    assert differ(made, free) == [False, True, False, False, True]
    assert made.reshape(5, -1).any(axis=1).all()
    assert [len(call) for call in calls] == [2, 2, 1, 2]
    assert calls[-1] == second[[1, 4]].tolist()


def test_without_diffusers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UserError, match=r"^augmentations: text_diffusion: needs diffusers .*extra"):
        drawn("text_diffusion", Path("nowhere"))


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_is_none_is_told(method: str, diffusion_model: Path, tmp_path: Path) -> None:
    start = rf"^augmentations: {method}: model: .*: "
    with pytest.raises(UserError, match=start + "no such folder$"):
        drawn(method, tmp_path / "nowhere")
    with pytest.raises(UserError, match=start + r"diffusers can't load it \(.*\)$"):
        drawn(method, tmp_path)
    shutil.copytree(diffusion_model, tmp_path / "broken")
    path = tmp_path / "broken" / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=start + r"diffusers can't load it \(.*\)$"):
        drawn(method, tmp_path / "broken")


def test_pickled_weights_are_not_read(diffusion_model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    shutil.copytree(diffusion_model, tmp_path / "pickled")
    path = tmp_path / "pickled" / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()
    with pytest.raises(UserError, match=r"diffusers can't load it \(.*safetensors"):
        drawn("text_diffusion", tmp_path / "pickled")


def test_a_size_that_the_model_cannot_draw_is_told(diffusion_model: Path) -> None:
    with pytest.raises(UserError, match=r"text_diffusion: size: 36 is not a multiple of 8$"):
        drawn("text_diffusion", diffusion_model, size=36)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strength": 0.2, "steps": 4}, r"strength: 0.2 of 4 steps is not one step; .*0.25 to 1$"),
        ({"strength": 0.0}, r"strength: 0.0 of 50 steps is not one step"),
        ({"strength": 1.5}, r"image_diffusion.strength: "),
        ({"guidance_scale": -1.0}, r"image_diffusion.guidance_scale: "),
    ],
)
def test_impossible_fields_are_told(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_augmenter({"method": "image_diffusion", **fields})


def test_no_skip_is_allowed_here(pytestconfig: pytest.Config) -> None:
    policy: Any = pytestconfig.pluginmanager.get_plugin("skip_policy")
    assert policy.allowed == []
