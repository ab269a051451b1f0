"""The batched attacks do what plain loops over captions, images and steps do.

Models compute in float64: the sign of a gradient near zero would else differ by how the rows of a
batch are rounded, which is no property of the attack.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.attacks import oracle
from torch import Tensor

from mmrobust.attacks.bert_attack import bert_search
from mmrobust.attacks.co_attack import CoAttack
from mmrobust.attacks.dra import DRA
from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.run import RetrievalBatch
from mmrobust.attacks.sga import SGA
from mmrobust.attacks.text_search.base import Language
from mmrobust.models.bert import (
    BertArchitecture,
    build_masked_lm,
    learn_wordpieces,
)
from mmrobust.models.dual_encoder import (
    Architecture,
    ModelConfig,
    OpenClipDualEncoder,
    build_model,
)
from mmrobust.models.masked_lm import load_masked_lm
from mmrobust.models.pretrained import quiet_transformers
from mmrobust.models.tokenizer import TokenizerConfig, save_tokenizer, train_tokenizer
from mmrobust.threat import ImageBudget, TextBudget, ThreatModel

STOP_WORDS = frozenset({"a", "the", "of", "in", "and", "on", "."})
CAPTIONS = [
    ["a man in a red jacket skateboarding on the street", "a skateboarder", "a man rides"],
    ["two dogs play in the grass", "the dogs", "two dogs play in the grass"],
    ["a woman reading on a bench and smiling", "the of a", "a woman smiles in the park ."],
    ["two dogs play in the grass", "children jumping on a trampoline in the garden and laughing"],
]
ALL_CAPTIONS = [caption for own in CAPTIONS for caption in own]
SIZE, EPS, STEP = 32, 8 / 255, 2 / 255
VISION: dict[str, dict[str, Any]] = {
    "resnet": {"image_size": SIZE, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
    "vit": {"image_size": SIZE, "patch_size": 8, "layers": 2, "width": 32, "head_width": 16},
}


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("oracle") / "tokenizer.json"
    save_tokenizer(train_tokenizer(ALL_CAPTIONS, TokenizerConfig(vocab_size=90)), path)
    return path


@pytest.fixture(scope="module")
def language_of(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[int], tuple[Language, Any, Any]]:
    """Seed -> a language with a random BERT, that BERT as transformers has it, its tokenizer."""
    # Trained on some words only, so that the others have several pieces.
    vocabulary = learn_wordpieces([" ".join(c[0] for c in CAPTIONS)] * 3, 95)

    def build(seed: int) -> tuple[Language, Any, Any]:
        architecture = BertArchitecture(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
        )
        parts = build_masked_lm(architecture, vocabulary, seed=seed)
        with torch.no_grad():  # else all scores are nearly equal and none reaches the threshold
            for parameter in parts[0].parameters():
                parameter.mul_(5)
        folder = tmp_path_factory.mktemp("bert")
        with quiet_transformers():
            for part in parts:
                part.save_pretrained(folder)
        language = Language(stop_words=STOP_WORDS, masked_lm=load_masked_lm(folder))
        return language, parts[0].eval(), parts[1]

    return build


def encoder(tokenizer_file: Path, tower: str, seed: int) -> OpenClipDualEncoder:
    text = {"context_length": 77, "width": 32, "heads": 2, "layers": 2}
    architecture = Architecture(embed_dim=24, vision_cfg=VISION[tower], text_cfg=text)
    model = build_model(ModelConfig(architecture=architecture), tokenizer=tokenizer_file, seed=seed)
    with torch.no_grad():  # else all captions are nearly the same
        model.clip.token_embedding.weight.mul_(20)  # type: ignore[operator, union-attr]
    return model.double().eval()


def batch_of(seed: int) -> RetrievalBatch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(len(CAPTIONS), 3, SIZE, SIZE, generator=generator, dtype=torch.float64)
    owner = torch.tensor([row for row, own in enumerate(CAPTIONS) for _ in own])
    return RetrievalBatch(images, tuple(ALL_CAPTIONS), owner)


def items_of(batch: RetrievalBatch, noise: ItemNoise) -> list[oracle.Item]:
    return [
        oracle.Item(batch.images[row : row + 1], own, noise.take([row]))
        for row, own in enumerate(CAPTIONS)
    ]


SCALES = (0.5, 1.25)
STEPS = 3
BY_SGA = {"steps": STEPS, "step_size": STEP, "scales": SCALES}
CASES = [
    pytest.param(SGA(**BY_SGA), oracle.sga, "resnet", id="sga"),
    pytest.param(SGA(**BY_SGA, text=bert_search(aligned=True)), oracle.sga, "vit", id="aligned"),
    pytest.param(CoAttack(steps=STEPS), oracle.co_attack, "resnet", id="co_attack"),
    pytest.param(
        CoAttack(steps=STEPS, text=bert_search(aligned=True)),
        oracle.co_attack,
        "vit",
        id="co_attack_aligned",
    ),
    pytest.param(DRA(**BY_SGA, samples=3), partial(oracle.dra, samples=3), "resnet", id="dra"),
]
THREAT_MODEL = ThreatModel(image=ImageBudget(eps=EPS), text=TextBudget(words=1))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("attack", "plain", "tower"), CASES)
def test_batched_attacks_agree_with_plain_loops(
    attack: Any,
    plain: Callable[..., tuple[Tensor, list[str]]],
    tower: str,
    seed: int,
    tokenizer_file: Path,
    language_of: Callable[[int], tuple[Language, Any, Any]],
) -> None:
    language, bert, pieces = language_of(seed)
    model, batch = encoder(tokenizer_file, tower, seed), batch_of(seed)
    noise = [ItemNoise.of(seed, "perturbations", items=range(len(CAPTIONS))) for _ in range(2)]
    found = attack(model, batch, threat_model=THREAT_MODEL, language=language, noise=noise[0])
    text = oracle.TextAttack(
        model=model,
        bert=bert,
        pieces=pieces,
        stop_words=STOP_WORDS,
        aligned=attack.text.candidates.aligned,
        pad_to=77 if seed == 0 else None,
    )
    image = oracle.ImageAttack(
        model=model,
        eps=EPS,
        step_size=attack.step_size or 1.25 * EPS / STEPS,
        steps=STEPS,
        scales=getattr(attack, "scales", ()),
    )
    ended = [plain(item, text, image) for item in items_of(batch, noise[1])]
    captions = [caption for _, own in ended for caption in own]
    assert list(found.captions) == captions
    changed = [old != new for old, new in zip(ALL_CAPTIONS, captions, strict=True)]
    assert sum(changed) > len(captions) // 2
    images = torch.cat([image for image, _ in ended])
    torch.testing.assert_close(found.images, images, atol=1e-5, rtol=0)
    assert float((images - batch.images).abs().max()) > EPS / 2


def test_the_captions_have_words_of_several_pieces(language_of: Callable[[int], Any]) -> None:
    _, _, pieces = language_of(0)
    words = {word for caption in ALL_CAPTIONS for word in caption.split(" ")} - STOP_WORDS
    counts = [len(pieces.tokenize(word)) for word in words]
    assert counts.count(1) > 3
    assert sum(count > 1 for count in counts) > 3
