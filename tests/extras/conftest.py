"""What the tests of optional extras share. They run in an environment of their own, where nothing
is missing, so that no skip is allowed: `make test-extras`.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
import torch

from mmrobust.data.scenes.dataset import Scenes

DATASET = {
    "name": "scenes",
    "splits": {"train": 6, "dev": 2, "test": 2},
    "image_size": 24,
    "captions_per_scene": 2,
}
DATA_SEED = 7


def pytest_sessionstart(session: pytest.Session) -> None:
    """Empty the list of skips that are allowed elsewhere."""
    policy: Any = session.config.pluginmanager.get_plugin("skip_policy")
    policy.allowed = []


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of six training items."""
    folder = tmp_path_factory.mktemp("prepared")
    fields: dict[str, Any] = {key: value for key, value in DATASET.items() if key != "name"}
    Scenes(**fields).prepare(folder, seed=DATA_SEED)
    return folder


@pytest.fixture(scope="session")
def diffusion_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion of random weights that draws small pictures.

    Its safety checker lets everything pass. Tokens are letters.
    """
    from diffusers import StableDiffusionPipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = StableDiffusionPipeline(**_text_parts(), **_picture_parts(), **_checker())
    folder = tmp_path_factory.mktemp("diffusion")
    pipeline.save_pretrained(folder)
    return folder


def _text_parts() -> dict[str, Any]:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    ends = ["<|startoftext|>", "<|endoftext|>"]
    letters = string.ascii_lowercase
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *ends]
    config = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        intermediate_size=32,
        projection_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=tokens.index(ends[0]),
        eos_token_id=tokens.index(ends[1]),
    )
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return {
        "text_encoder": CLIPTextModel(config),
        "tokenizer": CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=16),
    }


def _picture_parts() -> dict[str, Any]:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    return {
        "vae": AutoencoderKL(
            block_out_channels=(8, 8),
            norm_num_groups=4,
            latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
        ),
        "unet": UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            layers_per_block=1,
            attention_head_dim=2,
            cross_attention_dim=16,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        "scheduler": DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
    }


def _checker() -> dict[str, Any]:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16))
    with torch.no_grad():  # thresholds of cosines
        checker.concept_embeds_weights.fill_(2.0)
        checker.special_care_embeds_weights.fill_(2.0)
    size = {"height": 16, "width": 16}
    return {
        "safety_checker": checker,
        "feature_extractor": CLIPImageProcessor(size=size, crop_size=size),
    }
