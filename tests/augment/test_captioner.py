from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.augment.conftest import Augment
from tests.augment.tiny_models import PROMPT, SMALL, save_blip, tiny_blip

from mmrobust.augment.base import Sources
from mmrobust.augment.captioner import after_prompt
from mmrobust.augment.chunks import build_augmenter
from mmrobust.data.prepared import load_split
from mmrobust.errors import UserError
from mmrobust.models.bert import SPECIAL_TOKENS
from mmrobust.models.pretrained import quiet_transformers

Save = Callable[..., Path]


@pytest.fixture(scope="module")
def blip() -> tuple[Any, Any]:
    return tiny_blip()


@pytest.fixture
def save(blip: tuple[Any, Any], tmp_path: Path) -> Save:
    """Save the model, whose logits of the tokens that end or are no words are shifted."""
    model, processor = blip

    def run(*, end: float = 0.0, special: float = 0.0) -> Path:
        bias = model.text_decoder.cls.predictions.bias
        before = bias.detach().clone()
        with torch.no_grad():
            bias[processor.tokenizer.all_special_ids] += special
            bias[processor.tokenizer.sep_token_id] += end - special
            save_blip(model, processor, tmp_path / "blip")
            bias.copy_(before)
        return tmp_path / "blip"

    return run


def pictures(n: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, 24, 24, 3), dtype=np.uint8)


def captioned(folder: Path, images: np.ndarray, seed: int = 0, **fields: Any) -> list[str]:
    source: Any = SimpleNamespace(split=SimpleNamespace(images=images), device="cpu")
    entry = {"method": "captioner", "model": str(folder), **fields}
    rows = np.arange(len(images))
    generate = build_augmenter(entry).open(source)
    made = generate(Sources(rows, rows, 0), np.random.default_rng(seed))
    assert made.true is None
    return list(made.values)


def greedy(
    blip: tuple[Any, Any], picture: np.ndarray, prompt: str, *, least: int, most: int
) -> str:
    """Caption by the likeliest token, one after the other; none ends before the `least`."""
    model, processor = blip
    end = processor.tokenizer.sep_token_id
    pixels = processor.image_processor(Image.fromarray(picture), return_tensors="pt").pixel_values
    seen = model.vision_model(pixel_values=pixels).last_hidden_state
    ids = [processor.tokenizer.bos_token_id]
    ids += processor.tokenizer.encode(prompt, add_special_tokens=False)
    start = len(ids)
    while len(ids) < start + most and ids[-1] != end:
        decoded = model.text_decoder(
            input_ids=torch.tensor([ids]),
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long),
        )
        logits = decoded.logits[0, -1]
        if len(ids) < start + least:
            logits[end] = -torch.inf
        ids.append(int(logits.argmax()))
    words = processor.tokenizer.convert_ids_to_tokens(ids[start:])
    return " ".join(word for word in words if word not in (*SPECIAL_TOKENS, "[DEC]"))


@pytest.mark.parametrize("prompt", [PROMPT, ""])
@torch.no_grad()
def test_the_smallest_nucleus_is_the_likeliest_caption_of_each_picture(
    blip: tuple[Any, Any], save: Save, prompt: str
) -> None:
    images = np.zeros((4, 24, 24, 3), dtype=np.uint8)
    for colour in range(1, 4):
        images[colour, ..., colour - 1] = 255
    made = captioned(
        save(), images, prompt=prompt, top_p=1e-6, min_new_tokens=3, max_new_tokens=6, batch_size=2
    )
    assert made == [greedy(blip, picture, prompt, least=3, most=6) for picture in images]
    assert len(set(made)) > 1


@pytest.mark.parametrize(("end", "length"), [(500.0, 4), (-500.0, 9)])
def test_lengths_are_kept_and_the_prompt_taken_off(save: Save, end: float, length: int) -> None:
    """A model that always wants to end, or never; it only says words, one a token."""
    folder = save(end=end, special=-500.0)
    made = captioned(folder, pictures(4), temperature=9.0, min_new_tokens=4, max_new_tokens=9)
    assert [len(caption.split()) for caption in made] == [length] * 4


def test_where_nothing_is_said_the_first_caption_stands_and_is_the_source(
    save: Save, augment: Augment, data: Path
) -> None:
    """At this temperature one of 78 words is drawn, or the end, twice as likely as each."""
    folder = save(end=690.0, special=-1e9)
    fields = {"min_new_tokens": 0, "max_new_tokens": 1, "temperature": 1e3, "top_p": 1.0}
    items = augment("captioner", model=str(folder), n=1, **fields).items
    split = load_split(data, "train")
    first = np.searchsorted(split.caption_image, items["item"])
    own = np.array([split.captions[row] for row in first])
    silent = (items["caption"] == own).to_numpy()
    assert 0 < silent.sum() < len(silent)
    assert items["source_caption"].tolist() == np.where(silent, first, -1).tolist()
    assert (items["changed"] != silent).all()
    assert items["caption"].str.split().str.len()[~silent].eq(1).all()


def test_tokens_are_drawn_from_the_whole_nucleus(save: Save) -> None:
    """At a high temperature all of 78 words are about as likely."""
    fields = {"min_new_tokens": 1, "max_new_tokens": 1, "temperature": 1e6}
    folder = save(special=-1e9)
    images = np.repeat(pictures(1), 600, axis=0)
    assert len(set(captioned(folder, images, top_p=1.0, **fields))) > 70
    half = set(captioned(folder, images, top_p=0.5, **fields))
    assert 30 < len(half) < 48


def test_the_same_generator_says_the_same_and_no_other_is_touched(save: Save) -> None:
    folder, images = save(), pictures(6)
    before = torch.get_rng_state()
    first = captioned(folder, images, seed=3, batch_size=4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert captioned(folder, images, seed=3, batch_size=4) == first
    assert captioned(folder, images, seed=4, batch_size=4) != first


def test_it_augments_a_dataset(augment: Augment, save: Save, data: Path) -> None:
    folder = save(special=-500.0)
    made = augment("captioner", n=1, model=str(folder), temperature=20.0, max_new_tokens=6)
    assert (made.items["source_caption"] == -1).all()
    captions = made.items["caption"].tolist()
    assert all(5 <= len(caption.split()) <= 6 for caption in captions)
    assert len(set(captions)) > 250
    assert not set(captions) & set(load_split(data, "train").captions)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a picture of two dogs , one's brown !", "two dogs , one's brown !"),
        ("Three  CATS", "three cats"),  # a model that says only what is new
        ("A picture  of a picture of a cat", "a picture of a cat"),
        ("a picture of", ""),
        ("", ""),
    ],
)
def test_the_prompt_is_taken_off_once(text: str, expected: str) -> None:
    assert after_prompt(text, "A  picture of") == expected


def test_captions_have_the_form_of_the_datasets(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import BlipProcessor

    said = ["a picture of two dogs, one's brown !", "Semi-detached houses."]
    monkeypatch.setattr(BlipProcessor, "batch_decode", lambda *_, **__: said)
    made = captioned(save(), pictures(2))
    assert made == ["two dogs ones brown", "semi detached houses"]


def test_a_model_that_is_none_is_told(save: Save, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    def message(folder: Path) -> str:
        with pytest.raises(UserError) as caught:
            captioned(folder, pictures(1))
        told = str(caught.value)
        assert "\n" not in told
        assert told.startswith(f"augmentations: captioner: model: {folder}: ")
        return told

    assert "no such folder" in message(tmp_path / "nowhere")
    folder = save()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "transformers can't load it" in message(folder)
    weights.unlink()
    assert "transformers can't load it" in message(folder)
    shutil.rmtree(folder)
    with quiet_transformers():
        bert = BertForMaskedLM(BertConfig(vocab_size=9, **SMALL))
        bert.save_pretrained(tmp_path / "bert")
    assert "transformers can't load it" in message(tmp_path / "bert")


def test_weights_that_lack_a_part_are_told(save: Save) -> None:
    from safetensors.torch import load_file, save_file

    path = save() / "model.safetensors"
    weights = load_file(path)
    del weights["vision_model.embeddings.class_embedding"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"its weights lack vision_model\.embeddings\.class_emb"):
        captioned(path.parent, pictures(1))


def test_a_model_without_words_is_told(tmp_path: Path) -> None:
    from transformers import (
        BertConfig,
        BertLMHeadModel,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTImageProcessor,
        ViTModel,
    )

    decoder = BertConfig(**SMALL, vocab_size=9, is_decoder=True, add_cross_attention=True)
    with quiet_transformers():
        model = VisionEncoderDecoderModel(
            encoder=ViTModel(ViTConfig(**SMALL, image_size=16, patch_size=8)),
            decoder=BertLMHeadModel(decoder),
        )
        model.save_pretrained(tmp_path)
        ViTImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="has no processor of pictures and texts; allowed are cap"):
        captioned(tmp_path, pictures(1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"min_new_tokens": 21}, "captioner: min_new_tokens: 21 is above max_new_tokens, 20"),
        ({"top_p": 0.0}, "captioner.top_p: "),
        ({"temperature": 0.0}, "captioner.temperature: "),
        ({"batch_size": 0}, "captioner.batch_size: "),
    ],
)
def test_impossible_fields_are_told(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_augmenter({"method": "captioner", **fields})
