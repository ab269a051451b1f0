"""Random models of transformers, small enough to make in a test, in the format of real ones."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch

from mmrobust.models.bert import SPECIAL_TOKENS
from mmrobust.models.pretrained import quiet_transformers

WORDS = ["a", "dog", "cat", "ring", "red", "blue", "runs", "on", "grass", "two", "of", "=>"]
SPECIAL = ["<pad>", "<unk>", "</s>", "\n"]
PROMPT = "a picture of"
SYLLABLES = ["".join(letters) for letters in itertools.product("bdfgk", "aeiou", "lnr")]
SMALL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def tokenizer(**special: str) -> Any:
    """Whole words, and line breaks as tokens of their own."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split("\n", "isolated")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", **(special or {"eos_token": "</s>"})
    )


def gpt2(**fields: Any) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    size = {"vocab_size": len(SPECIAL) + len(WORDS), "n_embd": 32, "n_layer": 2, "n_head": 2}
    other = {"n_positions": 512, "bos_token_id": 2, "eos_token_id": 2}
    config = GPT2Config(**{**size, **other, **fields})
    return GPT2LMHeadModel(config)


def t5() -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    size = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    config = T5Config(
        **size,
        vocab_size=len(SPECIAL) + len(WORDS),
        pad_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=0,
        tie_word_embeddings=False,
    )
    return T5ForConditionalGeneration(config)


def save(folder: Path, model: Any, **special: str) -> Path:
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer(**special).save_pretrained(folder)
    return folder


def sharpened(model: Any) -> Any:
    """Weights so large that what was said before counts and no two tokens are nearly tied."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=3 * parameter.shape[-1] ** -0.5)
        model.get_input_embeddings().weight.normal_()
    return model


def tiny_blip() -> tuple[Any, Any]:
    """A random BLIP, of strong opinions, whose tokens are whole words, and its processor."""
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    tokens = [*SPECIAL_TOKENS, "[DEC]", *PROMPT.split(), *SYLLABLES]
    tokenizer = BertTokenizer(
        vocab={token: number for number, token in enumerate(tokens)}, bos_token="[DEC]"
    )
    text = {
        **SMALL,
        "vocab_size": len(tokens),
        "encoder_hidden_size": SMALL["hidden_size"],
        "max_position_embeddings": 64,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "eos_token_id": tokenizer.sep_token_id,
    }
    vision = {**SMALL, "image_size": 16, "patch_size": 8, "initializer_range": 0.3}
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(0)
        config = BlipConfig(text_config=text, vision_config=vision)
        model = BlipForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.text_decoder.parameters():
            parameter.mul_(8)
    pictures = BlipImageProcessor(size={"height": 16, "width": 16})
    return model, BlipProcessor(pictures, tokenizer)


def save_blip(model: Any, processor: Any, folder: Path) -> Path:
    with quiet_transformers():
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder
