"""Captions that a vision-language model writes of the pictures: image to text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mmrobust.augment.base import Augmenter, Generate, Made, Modality, Source, Sources
from mmrobust.data.caption_text import normalise_caption
from mmrobust.errors import UserError
from mmrobust.models.pretrained import PretrainedReader
from mmrobust.quantities import NonNegativeInt, PositiveFloat, PositiveInt

_WHERE = "augmentations: captioner"


@dataclass(frozen=True, kw_only=True)
class Captioner(Augmenter):
    """A caption of the picture, sampled from a captioning model.

    BLIP (Li et al. 2022, arXiv:2201.12086) by default. Its section 4.3 finds captions sampled
    from the nucleus (Holtzman et al. 2020, arXiv:1904.09751) worth more for training than those
    of beam search, being more diverse. Captions get the form that the datasets' own have: lower
    case, no punctuation. Human captions are not looked at; where a model says nothing, the item's
    first one stands, and is named as the source.

    Fields:
        model: a name on transformers' hub, or a folder; a model of image and text to text whose
            processor takes a bare prompt, as BLIP's, BLIP-2's and GIT's do.
        prompt: how each caption begins; taken off again. May be empty.
        top_p: share of the probability that tokens are drawn from.
        temperature: what logits are divided by.
        min_new_tokens: fewest tokens after the prompt.
        max_new_tokens: most tokens after the prompt.
        batch_size: pictures captioned at once.

    Deviations:
        lengths: 5 to 20 are BLIP's for captioning, where the prompt counts.
        top_k: none. BLIP's released code samples under its library's default, from the 50 likeliest
            tokens at most.
        repetition_penalty: none, 1.1 in the released code.
    """

    reads: ClassVar[Modality] = "image"
    writes: ClassVar[Modality] = "caption"
    prompted: ClassVar[bool] = True

    model: str = "Salesforce/blip-image-captioning-base"
    prompt: str = "a picture of"
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    temperature: PositiveFloat = 1.0
    min_new_tokens: NonNegativeInt = 5
    max_new_tokens: PositiveInt = 20
    batch_size: PositiveInt = 32

    def __post_init__(self) -> None:
        if self.min_new_tokens > self.max_new_tokens:
            raise UserError(
                f"{_WHERE}: min_new_tokens: {self.min_new_tokens} is above max_new_tokens, "
                f"{self.max_new_tokens}"
            )

    def open(self, source: Source) -> Generate:
        """Read the model and its processor."""
        import torch

        model, processor = _read(self.model)
        model.to(source.device)
        gpus = [model.device] if model.device.type == "cuda" else []

        def generate(sources: Sources, rng: np.random.Generator) -> Made:
            pictures = source.split.images[sources.items]
            captions: list[str] = []
            # transformers samples from the global generators: seed them in a scope of their own.
            with torch.random.fork_rng(devices=gpus):
                torch.manual_seed(int(rng.integers(2**63)))
                for start in range(0, len(pictures), self.batch_size):
                    batch = pictures[start : start + self.batch_size]
                    captions += self._write(model, processor, batch)
            # The item's first caption stands where the model says nothing.
            silent = np.array([not caption for caption in captions])
            return Made(captions, sources=np.where(silent, sources.captions, -1))

        return generate

    def _write(self, model: Any, processor: Any, pictures: NDArray[np.uint8]) -> list[str]:
        """Caption pictures uint8 (B, H, W, 3)."""
        from PIL import Image

        prompts = {"text": [self.prompt] * len(pictures)} if self.prompt else {}
        opened = [Image.fromarray(picture) for picture in pictures]
        inputs = processor(images=opened, return_tensors="pt", **prompts).to(model.device)
        ids = model.generate(
            **inputs,
            do_sample=True,
            num_beams=1,
            top_p=self.top_p,
            top_k=0,
            temperature=self.temperature,
            min_new_tokens=self.min_new_tokens,
            max_new_tokens=self.max_new_tokens,
        )
        texts = processor.batch_decode(ids, skip_special_tokens=True)
        return [normalise_caption(after_prompt(text, self.prompt)) for text in texts]


def after_prompt(text: str, prompt: str) -> str:
    """What a model said after its prompt, which only some models repeat, in lower case."""
    said, first = (" ".join(part.lower().split()) for part in (text, prompt))
    return said.removeprefix(first).strip()


def _read(name: str) -> tuple[Any, Any]:
    """Read a model and its processor."""
    import torch
    import transformers as hf

    processors: Any = hf.AutoProcessor
    models: Any = hf.AutoModelForImageTextToText

    def load(options: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        processor = processors.from_pretrained(name, **options)
        # Older weights are no safetensors; of a pickle, transformers reads tensors alone.
        model, found = models.from_pretrained(
            name, dtype=torch.float32, output_loading_info=True, **options
        )
        return model, processor, found

    pretrained = PretrainedReader(
        name=name, where=f"{_WHERE}: model", allowed="; allowed are captioners such as BLIP"
    )
    model, processor = pretrained.read(load)
    if not {"image_processor", "tokenizer"} <= vars(processor).keys():
        raise pretrained.error("it has no processor of pictures and texts")
    return model, processor
