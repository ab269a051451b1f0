"""Attacks as recipes, run by one wrapper that holds them to their budgets.

A recipe is an ordered list of steps. Each step searches one modality, starting from the original
input, and is guided by the other modality as it was given or as earlier steps left it. Attacks
differ in their recipes, not in copies of this code.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from pydantic import ConfigDict
from torch import Tensor

from mmrobust.attacks.image_search import SignGradientAscent, project
from mmrobust.attacks.objectives import positive_pair
from mmrobust.attacks.text_search import GreedyWordSubstitution, Substitutes, words_changed
from mmrobust.models.base import DualEncoder
from mmrobust.models.encoding import embed_captions, embed_images
from mmrobust.threat import ThreatModel, refuse_unfit_budgets

Guide = Literal["original", "current"]


@dataclass(frozen=True)
class RetrievalBatch:
    """Images with all captions under attack.

    Fields:
        images: (B, 3, H, W) in [0, 1].
        captions: C captions, words separated by single spaces.
        caption_image: (C,) int64, the row of `images` that each caption belongs to.
    """

    images: Tensor
    captions: tuple[str, ...]
    caption_image: Tensor


@dataclass(frozen=True, kw_only=True)
class ImageStep:
    """Perturb the images, guided by their original or their current captions."""

    search: SignGradientAscent
    guide: Guide


@dataclass(frozen=True, kw_only=True)
class TextStep:
    """Perturb the captions, guided by their original or their current images."""

    search: GreedyWordSubstitution
    guide: Guide


Step = ImageStep | TextStep


@dataclass(frozen=True)
class Adversarial:
    """What the wrapper certifies of an attack's output: inputs and how far they moved.

    Fields:
        images: (B, 3, H, W) in [0, 1], within the image budget.
        captions: C captions, within the text budget.
        perturbation: (B,) l-inf distance of each image from its original.
        words_changed: (C,) words replaced in each caption.
    """

    images: Tensor
    captions: tuple[str, ...]
    perturbation: Tensor
    words_changed: Tensor


@contextlib.contextmanager
def evaluation_mode(model: DualEncoder) -> Iterator[None]:
    """Put the model in eval mode and restore every module's own mode afterwards.

    Attacks run in eval mode also during training, so that batch statistics are neither used nor
    moved by perturbed inputs.
    """
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """A frozen record of hyper-parameters whose `recipe` says what is done in which order."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    @abstractmethod
    def recipe(self) -> tuple[Step, ...]:
        """Steps in the order in which they run."""

    @final
    def __call__(
        self,
        model: DualEncoder,
        batch: RetrievalBatch,
        *,
        threat_model: ThreatModel,
        substitutes: Substitutes,
        generator: torch.Generator,
    ) -> Adversarial:
        """Run the recipe on a batch and hold its outcome to the threat model.

        Images are projected onto their budget whatever a step returned; a caption that left its
        budget is an error of the step, since there is no nearest allowed caption.

        Raises:
            UserError: the recipe perturbs a modality for which the threat model has no budget.
        """
        self.check(threat_model)
        with evaluation_mode(model):
            run = _Run(model, batch, threat_model, substitutes, generator)
            for step in self.recipe():
                run.take(step)
        return run.outcome()

    def perturbs(self) -> set[str]:
        """The modalities that the recipe changes, of "image" and "text"."""
        return {"image" if isinstance(step, ImageStep) else "text" for step in self.recipe()}

    def check(self, threat_model: ThreatModel) -> None:
        """Raise `UserError` unless every step has a budget and every budget is used."""
        budgets = {"image": threat_model.image, "text": threat_model.text}
        given = {modality for modality, budget in budgets.items() if budget is not None}
        refuse_unfit_budgets(repr(self), perturbs=self.perturbs(), given=given)


class _Run:
    """The state of one recipe on one batch: inputs as they are now, embeddings as far as known."""

    def __init__(
        self,
        model: DualEncoder,
        batch: RetrievalBatch,
        threat_model: ThreatModel,
        substitutes: Substitutes,
        generator: torch.Generator,
    ) -> None:
        self.model = model
        self.batch = batch
        self.threat_model = threat_model
        self.substitutes = substitutes
        self.generator = generator
        self.images = batch.images
        self.captions: Sequence[str] = batch.captions
        self._caption_embeddings: dict[Guide, Tensor] = {}

    def take(self, step: Step) -> None:
        if isinstance(step, ImageStep):
            self._perturb_images(step)
        else:
            self._perturb_captions(step)

    def _perturb_images(self, step: ImageStep) -> None:
        assert self.threat_model.image is not None
        text = self._embedded_captions(step.guide)
        caption_image = self.batch.caption_image.to(text.device)

        def objective(images: Tensor) -> Tensor:
            return positive_pair(self.model.encode_image(images), text, caption_image)

        found = step.search(
            objective,
            self.batch.images,
            budget=self.threat_model.image,
            generator=self.generator,
        )
        self.images = project(found.detach(), self.batch.images, self.threat_model.image)

    def _perturb_captions(self, step: TextStep) -> None:
        assert self.threat_model.text is not None
        images = self.batch.images if step.guide == "original" else self.images
        guide = embed_images(self.model, images)[self.batch.caption_image.to(images.device)]
        self.captions, self._caption_embeddings["current"] = step.search(
            self.model,
            self.batch.captions,
            guide,
            budget=self.threat_model.text,
            substitutes=self.substitutes,
        )

    def _embedded_captions(self, guide: Guide) -> Tensor:
        """Embeddings (C, D) of the captions; a text step's own are used again."""
        if guide not in self._caption_embeddings:
            captions = self.batch.captions if guide == "original" else self.captions
            self._caption_embeddings[guide] = embed_captions(self.model, captions)
        return self._caption_embeddings[guide]

    def outcome(self) -> Adversarial:
        changed = torch.tensor(
            [
                words_changed(before, after)
                for before, after in zip(self.batch.captions, self.captions, strict=True)
            ]
        )
        allowed = self.threat_model.text.words if self.threat_model.text else 0
        if len(changed) and int(changed.max()) > allowed:
            raise AssertionError(f"a text step changed {int(changed.max())} words of {allowed}")
        moved = (self.images - self.batch.images).abs().flatten(1).amax(dim=1)
        return Adversarial(self.images, tuple(self.captions), moved, changed)
