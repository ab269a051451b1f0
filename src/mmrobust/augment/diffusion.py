"""What text-to-image and image-to-image diffusion share: a pipeline of diffusers, and its draws."""

from __future__ import annotations

import contextlib
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mmrobust.augment.base import (
    Augmenter,
    Generate,
    Made,
    Modality,
    Pictures,
    Source,
    Sources,
)
from mmrobust.errors import UserError
from mmrobust.models.pretrained import quiet_transformers
from mmrobust.quantities import NonNegativeFloat, PositiveInt

DRAWS = 10
"""Times that a picture is drawn at most until the pipeline's safety checker lets it pass."""

_SIZE_STEP = 8
"""Pixels; pipelines refuse sizes between, whatever their autoencoder's own step is."""


@dataclass(frozen=True, kw_only=True)
class Diffusion(Augmenter):
    """Pictures of items' first captions, by a latent diffusion model.

    Rombach et al. 2022, arXiv:2112.10752, through diffusers, which the extra `diffusion` installs.
    Pictures are drawn at the model's own size and then made as small as the dataset's. Each has
    generators of its own, so that it doesn't depend on those drawn with it beyond rounding.

    A safety checker that comes with the model stays on. It blackens what it takes for indecent.
    Such a picture is drawn again from other noise, and none of them is ever kept.

    Fields:
        model: a name on the hub, or a folder, in diffusers' format.
        size: side of the pictures in pixels as the model draws them, which it was trained at.
        steps: of denoising.
        guidance_scale: of classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598); up
            to 1 for none.
        batch_size: pictures drawn at once.
    """

    writes: ClassVar[Modality] = "image"
    method: ClassVar[str]
    """Registry name, for messages."""
    task: ClassVar[str]
    """Name of the class of diffusers that finds the pipeline."""

    model: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    size: PositiveInt = 512
    steps: PositiveInt = 50
    guidance_scale: NonNegativeFloat = 7.5
    batch_size: PositiveInt = 8

    @property
    def where(self) -> str:
        """What messages start with."""
        return f"augmentations: {self.method}"

    @abstractmethod
    def options(self, pictures: Pictures) -> dict[str, Any]:
        """What the pipeline is told of pictures uint8 (B, H, W, 3), beside prompts and noise."""

    def open(self, source: Source) -> Generate:
        """Load the pipeline.

        Raises:
            UserError: diffusers isn't installed, or the model can't be loaded or draw this size.
        """
        pipeline = self._load().to(source.device)
        factor = math.lcm(_SIZE_STEP, getattr(pipeline, "vae_scale_factor", 1))
        if self.size % factor:
            raise UserError(f"{self.where}: size: {self.size} is not a multiple of {factor}")

        def generate(sources: Sources, rng: np.random.Generator) -> Made:
            shown = source.split.images[sources.items]
            captions = [source.split.captions[row] for row in sources.captions]
            seeds = rng.integers(2**63, size=(len(captions), DRAWS))
            made = np.zeros_like(shown)
            todo = np.arange(len(captions))
            for draw in range(DRAWS):
                refused = []
                for rows in np.array_split(
                    todo, range(self.batch_size, len(todo), self.batch_size)
                ):
                    prompts = [captions[row] for row in rows]
                    options = self.options(shown[rows])
                    drawn, bad = self._draw(pipeline, prompts, seeds[rows, draw], options)
                    made[rows] = [_resized(picture, shown.shape[1]) for picture in drawn]
                    refused.append(rows[bad])
                todo = np.concatenate(refused)
                if not len(todo):
                    return Made(made)
            raise UserError(
                f"{self.where}: the model's safety checker refused all {DRAWS} pictures of "
                f"{captions[todo[0]]!r}; take another `seed` or another `model`"
            )

        return generate

    def _draw(
        self, pipeline: Any, prompts: Sequence[str], seeds: NDArray[np.int64], options: Any
    ) -> tuple[list[Any], NDArray[np.bool_]]:
        """Draw B pictures, and tell which of them (B,) the safety checker blackened."""
        import torch

        with _quiet():
            done = pipeline(
                prompt=list(prompts),
                num_inference_steps=self.steps,
                guidance_scale=self.guidance_scale,
                # On the CPU, so that a GPU draws the same noise.
                generator=[torch.Generator().manual_seed(int(seed)) for seed in seeds],
                output_type="pil",
                **options,
            )
        refused = getattr(done, "nsfw_content_detected", None) or [False] * len(prompts)
        return done.images, np.array(refused, dtype=bool)

    def _load(self) -> Any:
        """Load the pipeline; nothing is fetched for a local folder."""
        import torch

        try:
            import diffusers
        except ImportError as error:
            raise UserError(
                f"{self.where}: needs diffusers ({error}); the extra `diffusion` installs it: "
                "pip install -e '.[diffusion]'"
            ) from None
        folder = Path(self.model).is_dir()
        if not folder and self.model.startswith((".", "/")):
            raise UserError(f"{self.where}: model: {self.model}: no such folder")
        try:
            with _quiet():
                pipeline = getattr(diffusers, self.task).from_pretrained(
                    self.model,
                    local_files_only=folder,
                    use_safetensors=True,
                    dtype=torch.float32,
                )
        except Exception as error:  # also what the Rust libraries raise: bare Exception
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"{self.where}: model: {self.model}: diffusers can't load it ({reason})"
            ) from None
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def _resized(picture: Any, side: int) -> NDArray[np.uint8]:
    """A drawn picture, a Pillow image, as the dataset's pictures are resized: antialiased."""
    from PIL import Image

    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the progress bars and advice of diffusers and transformers to themselves."""
    from diffusers.utils import logging as messages

    level, bars = messages.get_verbosity(), messages.is_progress_bar_enabled()
    messages.set_verbosity_error()
    messages.disable_progress_bar()
    try:
        with quiet_transformers():
            yield
    finally:
        messages.set_verbosity(level)
        if bars:
            messages.enable_progress_bar()
