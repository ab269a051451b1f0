from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmrobust.errors import UserError
from mmrobust.models.dual_encoder import (
    Architecture,
    ModelConfig,
    OpenClipDualEncoder,
    Pretrained,
    build_model,
    load_model,
    save_model,
)
from mmrobust.models.encoding import embed_captions, token_lengths

CAPTIONS = ["a red ring", "a big blue star to the left of a red ring", "star", "a red ring"]


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32}
    text = {"context_length": 12, "width": 16, "heads": 2, "layers": 2}
    return ModelConfig(architecture=Architecture(embed_dim=16, vision_cfg=vision, text_cfg=text))


@pytest.fixture(scope="module")
def model(config: ModelConfig, tokenizer_file: Path) -> OpenClipDualEncoder:
    return build_model(config, tokenizer=tokenizer_file, seed=0).eval()


def test_embeddings_are_unit_vectors(model: OpenClipDualEncoder) -> None:
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for embedding in (model.encode_image(images), model.encode_text(CAPTIONS)):
        assert embedding.shape == (4, 16)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(4))


def test_projections_are_the_embeddings_before_they_are_normalised(
    model: OpenClipDualEncoder,
) -> None:
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tokens = model.tokenize(CAPTIONS)
    for projected, embedded in (
        (model.project_image(images), model.encode_image(images)),
        (model.project_tokens(tokens), model.encode_tokens(tokens)),
    ):
        norms = projected.norm(dim=1, keepdim=True)
        assert (norms - 1).abs().max() > 0.01
        torch.testing.assert_close(projected / norms, embedded)
    raw = embed_captions(model, CAPTIONS, encode=model.project_tokens)
    torch.testing.assert_close(raw, model.project_tokens(tokens))


def test_towers_train_together_or_alone(config: ModelConfig, tokenizer_file: Path) -> None:
    model = build_model(config, tokenizer=tokenizer_file, seed=0)
    names = {name for name, _ in model.named_parameters()}
    image = {name for name in names if name.startswith("clip.visual.")}
    expected = {"both": names, "image": image, "text": names - image - {"clip.logit_scale"}}
    for towers in ("image", "both", "text"):
        model.train_towers(towers)
        training = {name for name, p in model.named_parameters() if p.requires_grad}
        assert training == expected[towers]
        assert model.clip.visual.training == (towers != "text")
        assert model.clip.transformer.training == (towers != "image")
    model.train_towers("both", batch_statistics=False)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert model.clip.transformer.training


def test_trimmed_captions_embed_as_padded_ones(model: OpenClipDualEncoder) -> None:
    """open_clip's own pass at the full context length is the oracle."""
    tokens = model.tokenize(CAPTIONS)
    padded = torch.nn.functional.pad(tokens, (0, 12 - tokens.shape[1]))
    expected = model.clip.encode_text(padded, normalize=True)  # type: ignore[operator]
    torch.testing.assert_close(model.encode_tokens(tokens), expected)


def test_pixels_are_normalised_inside(model: OpenClipDualEncoder) -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = model.clip.encode_image((images - 0.5) / 0.25, normalize=True)  # type: ignore[operator]
    torch.testing.assert_close(model.encode_image(images), expected)


def test_long_captions_are_cut_and_keep_their_end(model: OpenClipDualEncoder) -> None:
    tokens = model.tokenize(["red " * 40])
    assert tokens.shape == (1, 12)
    assert token_lengths(tokens).tolist() == [12]
    assert tokens[0, -1] == 2  # the end token


@pytest.mark.parametrize("tokens_per_chunk", [1, 7, 10_000])
def test_chunked_embedding_equals_one_by_one(
    model: OpenClipDualEncoder, tokens_per_chunk: int
) -> None:
    got = embed_captions(model, CAPTIONS, tokens_per_chunk=tokens_per_chunk)
    with torch.no_grad():
        expected = torch.cat([model.encode_text([caption]) for caption in CAPTIONS])
    torch.testing.assert_close(got, expected)
    assert torch.equal(got[0], got[3])  # equal captions are one row


def test_a_saved_model_comes_back(
    model: OpenClipDualEncoder, config: ModelConfig, tokenizer_file: Path, tmp_path: Path
) -> None:
    save_model(tmp_path, model, config, tokenizer=tokenizer_file)
    loaded = load_model(tmp_path)
    assert torch.equal(loaded.encode_text(CAPTIONS), model.encode_text(CAPTIONS))
    assert not loaded.training


def test_initial_weights_follow_the_seed_and_leave_the_global_generator_alone(
    config: ModelConfig, tokenizer_file: Path
) -> None:
    state = torch.get_rng_state()
    one, same, other = (
        build_model(config, tokenizer=tokenizer_file, seed=seed).state_dict()[
            "clip.text_projection"
        ]
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_truncated_checkpoint_is_told(
    model: OpenClipDualEncoder, config: ModelConfig, tokenizer_file: Path, tmp_path: Path
) -> None:
    save_model(tmp_path, model, config, tokenizer=tokenizer_file)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"model\.safetensors: not a checkpoint of this model"):
        load_model(tmp_path)


def test_keys_that_open_clip_does_not_know_are_told(tokenizer_file: Path) -> None:
    architecture = Architecture(embed_dim=16, vision_cfg={"image_sise": 32}, text_cfg={})
    with pytest.raises(UserError, match=r"model\.architecture: open_clip refuses it .*image_sise"):
        build_model(ModelConfig(architecture=architecture), tokenizer=tokenizer_file, seed=0)


def test_one_of_architecture_and_pretrained_is_needed() -> None:
    with pytest.raises(UserError, match="either `architecture` or `pretrained`"):
        ModelConfig()


def test_a_local_open_clip_checkpoint_is_read(tmp_path: Path) -> None:
    """The path that a user of pretrained CLIP takes, with random weights of the same format."""
    import open_clip

    torch.manual_seed(0)
    source = open_clip.create_model("RN50-quickgelu", pretrained=None)
    weights = tmp_path / "weights.pt"
    torch.save({"state_dict": source.state_dict()}, weights)
    config = ModelConfig(pretrained=Pretrained(name="RN50-quickgelu", weights=str(weights)))
    model = build_model(config, tokenizer=None, seed=0).eval()
    tokens = model.tokenize(CAPTIONS)
    assert tokens.shape[1] < 77
    source.eval()
    full = open_clip.get_tokenizer("RN50-quickgelu")(CAPTIONS)
    with torch.no_grad():
        expected = source.encode_text(full, normalize=True)
        torch.testing.assert_close(model.encode_tokens(tokens), expected, atol=1e-5, rtol=1e-4)
    save_model(tmp_path / "saved", model, config, tokenizer=None)
    weights.unlink()
    loaded = load_model(tmp_path / "saved")
    assert torch.equal(loaded.clip.text_projection, model.clip.text_projection)  # type: ignore[arg-type]


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip.factory

    def refuse(*arguments: object, **named: object) -> str:
        raise RuntimeError("weights were asked for")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", refuse)


@pytest.mark.usefixtures("no_download")
@pytest.mark.parametrize(
    ("name", "weights"),
    [("ViT-B-16", "openai"), ("ViT-B/32", "openai"), ("ViT-B-32", "laion400m-e32")],
)
def test_weights_of_another_activation_are_refused(name: str, weights: str) -> None:
    """open_clip has the same tag for the name that is wanted, and computes with a warning."""
    import open_clip

    wanted = f"{name.replace('/', '-')}-quickgelu"
    assert open_clip.is_pretrained_cfg(wanted, weights)
    config = ModelConfig(pretrained=Pretrained(name=name, weights=weights))
    with pytest.raises(UserError, match=rf"model\.pretrained\.name: .* wanted: '{wanted}'$"):
        build_model(config, tokenizer=None, seed=0)


@pytest.mark.usefixtures("no_download")
@pytest.mark.parametrize(
    ("name", "weights"), [("ViT-B-16-quickgelu", "openai"), ("ViT-B-16", "laion2b_s34b_b88k")]
)
def test_weights_of_the_models_own_activation_are_asked_for(name: str, weights: str) -> None:
    config = ModelConfig(pretrained=Pretrained(name=name, weights=weights))
    with pytest.raises(UserError, match=r"can't load it .*weights were asked for"):
        build_model(config, tokenizer=None, seed=0)


def test_weights_that_do_not_exist_are_told() -> None:
    config = ModelConfig(pretrained=Pretrained(name="ViT-B-32", weights="no/such/file.pt"))
    with pytest.raises(UserError, match=r"model\.pretrained: open_clip can't load it"):
        build_model(config, tokenizer=None, seed=0)
