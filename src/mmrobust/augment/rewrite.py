"""Captions rewritten by a language model, on this machine or behind an address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from mmrobust.augment.base import Augmenter, Generate, Made, Modality, Source, Sources
from mmrobust.augment.endpoint import Chat, Endpoint
from mmrobust.augment.language_model import LanguageModel
from mmrobust.augment.prompts import INSTRUCTION, PAIRS, Prompt, first_line
from mmrobust.data.caption_text import normalise_caption
from mmrobust.errors import UserError
from mmrobust.quantities import PositiveFloat, PositiveInt

_WHERE = "augmentations: rewrite"

Say = Callable[[Sequence[Prompt], np.random.Generator], list[tuple[str, bool]]]
"""Answers to prompts, and whether the model ended each one by itself."""


@dataclass(frozen=True, kw_only=True)
class Rewrite(Augmenter):
    """Captions said otherwise by a language model that is shown how, as LaCLIP does.

    Fan et al. 2023, arXiv:2305.20088, section 3.

    The model is given an instruction, some captions with their rewritings, drawn anew for each
    caption, and the caption. Of what it says the first line counts, in the form that captions are
    prepared in (`normalise_caption`), so that made and human captions look alike.

    Deviations:
        model: any, where LaCLIP takes LLaMA-7B.
        pairs: one list, our own. LaCLIP keeps four sources apart, of ChatGPT, of Bard, of people
            and of two captions of one image in COCO.
        tokens: at most 40 new ones, where the released code allows 77 and goes on past the line.
        long prompts: cut at the front, so that the caption stays. The released code cuts them at
            the back.

    Fields:
        model: a causal or a sequence-to-sequence model that transformers finds: a folder, or a
            name on its hub.
        endpoint: a server to ask in its place; exactly one of the two is given.
        instruction: what the model is told first.
        pairs: captions and their rewritings.
        shots: how many of them a prompt shows.
        temperature: of sampling.
        top_p: sampling is among the likeliest tokens that have this probability together.
        max_new_tokens: of an answer.
        batch_size: captions at once.
    """

    reads: ClassVar[Modality] = "caption"
    writes: ClassVar[Modality] = "caption"

    model: str | None = None
    endpoint: Endpoint | None = None
    instruction: str = INSTRUCTION
    pairs: tuple[tuple[str, str], ...] = PAIRS
    shots: PositiveInt = 3
    temperature: PositiveFloat = 0.9
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_new_tokens: PositiveInt = 40
    batch_size: PositiveInt = 32

    def __post_init__(self) -> None:
        if (self.model is None) == (self.endpoint is None):
            raise UserError(f"{_WHERE}: give either `model` or `endpoint`")
        if self.shots > len(self.pairs):
            raise UserError(
                f"{_WHERE}: shots: {self.shots} is above the number of pairs, {len(self.pairs)}"
            )

    def open(self, source: Source) -> Generate:
        """Load the model, or see that the endpoint's key is there.

        Raises:
            UserError: there is no such model or key.
        """
        say = self._asked() if self.model is None else self._loaded(self.model, source.device)

        def generate(sources: Sources, rng: np.random.Generator) -> Made:
            captions = [source.split.captions[row] for row in sources.captions]
            said = say([self.prompt(caption, rng) for caption in captions], rng)
            lines = [first_line(text, finished=finished) for text, finished in said]
            return Made([normalise_caption(line) for line in lines])

        return generate

    def prompt(self, caption: str, rng: np.random.Generator) -> Prompt:
        """What the model is told of one caption."""
        drawn = rng.permutation(len(self.pairs))[: self.shots]
        pairs = tuple(self.pairs[which] for which in drawn)
        return Prompt(instruction=self.instruction, pairs=pairs, caption=caption)

    def _asked(self) -> Say:
        assert self.endpoint is not None
        chat = Chat(self.endpoint, at_once=self.batch_size)
        options = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_new_tokens,
        }

        def say(prompts: Sequence[Prompt], rng: np.random.Generator) -> list[tuple[str, bool]]:
            seeds = rng.integers(2**31, size=len(prompts)).tolist()
            return chat.ask(prompts, seeds, options)

        return say

    def _loaded(self, name: str, device: str) -> Say:
        model = LanguageModel(name, device=device, max_new_tokens=self.max_new_tokens)
        options = {"temperature": self.temperature, "top_p": self.top_p}

        def say(prompts: Sequence[Prompt], rng: np.random.Generator) -> list[tuple[str, bool]]:
            texts = [prompt.text() for prompt in prompts]
            seed = int(rng.integers(2**63))
            return model.sample(texts, seed=seed, batch_size=self.batch_size, options=options)

        return say
