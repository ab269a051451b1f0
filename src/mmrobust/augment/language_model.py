"""A language model of transformers that goes on with texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmrobust.errors import UserError
from mmrobust.models.pretrained import PretrainedReader, quiet_transformers

_WHERE = "augmentations: rewrite"
_MAX_CONTEXT = 2**20
"""Tokens of a model that says no limit; tokenizers don't count further."""


class LanguageModel:
    """A transformers model that goes on with texts, until the end of a line."""

    def __init__(self, name: str, *, device: str, max_new_tokens: int) -> None:
        self._model, self._tokenizer = _read(name, device)
        config = self._model.config.get_text_config()
        positions = getattr(config, "max_position_embeddings", None) or _MAX_CONTEXT
        context = min(positions, self._tokenizer.model_max_length, _MAX_CONTEXT)
        self._max_new_tokens = max_new_tokens
        self._room = context - max_new_tokens
        if self._room < 1:
            raise UserError(
                f"{_WHERE}: max_new_tokens: {max_new_tokens} leaves no room for a prompt; {name!r} "
                f"takes {context} tokens in all"
            )
        self._ends = self._ending_tokens()

    def _ending_tokens(self) -> list[int]:
        """Tokens after which a line is over: those that break it, and the end of a text."""
        tokenizer = self._tokenizer
        breaks = {token for token in range(len(tokenizer)) if "\n" in tokenizer.decode([token])}
        of_model = self._model.generation_config.eos_token_id
        ends = of_model if isinstance(of_model, list) else [of_model, tokenizer.eos_token_id]
        return sorted(breaks | {token for token in ends if token is not None})

    def sample(
        self, texts: Sequence[str], *, seed: int, batch_size: int, options: Mapping[str, float]
    ) -> list[tuple[str, bool]]:
        """What comes after each text, and whether it came to an end of its own."""
        import torch

        device = self._model.device
        said = []
        # transformers samples from the global generators: seed them in a scope of its own.
        with (
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            torch.no_grad(),
            quiet_transformers(),
        ):
            torch.manual_seed(seed)
            for start in range(0, len(texts), batch_size):
                said += self._go_on(texts[start : start + batch_size], options)
        return said

    def _go_on(self, texts: Sequence[str], options: Mapping[str, float]) -> list[tuple[str, bool]]:
        model, tokenizer = self._model, self._tokenizer
        encoded = tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._room, return_tensors="pt"
        ).to(model.device)
        # `top_k` and `num_beams` would otherwise be what transformers or the model's files say.
        tokens = model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            do_sample=True,
            top_k=0,
            num_beams=1,
            max_new_tokens=self._max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=self._ends or None,
            **options,
        )
        # Before what is new stands the prompt, or the token that a decoder starts from.
        given = 1 if model.config.is_encoder_decoder else encoded["input_ids"].shape[1]
        tokens = tokens[:, given:]
        done = {*self._ends, tokenizer.pad_token_id}  # rows that are over are padded
        finished = [last in done for last in tokens[:, -1].tolist()]
        said = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return list(zip(said, finished, strict=True))


def _read(name: str, device: str) -> tuple[Any, Any]:
    """Read a model and its tokenizer."""
    import torch
    import transformers as hf

    pretrained = PretrainedReader(name=name, where=f"{_WHERE}: model")
    # Half precision is slow on a CPU, and what most weights are stored in.
    dtype = torch.float32 if device == "cpu" else "auto"

    def load(options: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        cls = _class_of(hf.AutoConfig.from_pretrained(name, **options), pretrained)
        tokenizer = hf.AutoTokenizer.from_pretrained(
            name, padding_side="left", truncation_side="left", **options
        )
        model, found = cls.from_pretrained(
            name, use_safetensors=True, dtype=dtype, output_loading_info=True, **options
        )
        return model, tokenizer, found

    model, tokenizer = pretrained.read(load)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        raise pretrained.error(f"its tokenizer has more tokens than the model, {len(tokenizer)}")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token is None:
        raise pretrained.error("its tokenizer has neither a padding token nor one that ends a text")
    return model.to(device).eval().requires_grad_(False), tokenizer


def _class_of(config: Any, pretrained: PretrainedReader) -> Any:
    """The class that reads a model of this kind; `UserError` if it generates no text."""
    import transformers as hf

    cls: Any
    if config.is_encoder_decoder:
        cls, kinds = hf.AutoModelForSeq2SeqLM, hf.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING
    else:
        cls, kinds = hf.AutoModelForCausalLM, hf.MODEL_FOR_CAUSAL_LM_MAPPING
    # transformers would read a masked language model as a causal one, which speaks no sense.
    masked = any(one.endswith("ForMaskedLM") for one in config.architectures or ())
    if type(config) not in kinds or masked:
        raise pretrained.error(
            f"a model of type {config.model_type!r} that generates no text; allowed are causal "
            "and sequence-to-sequence language models"
        )
    return cls
