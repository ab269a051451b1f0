"""Attacks as recipes, run by one wrapper that holds them to their budgets.

A recipe is an ordered list of steps. Each step searches one modality, starting from the original
input, and is guided by the other modality as it was given or as earlier steps left it. Attacks
differ in their recipes, not in copies of this code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from pydantic import ConfigDict
from torch import Tensor

from mmrobust.attacks.image_search.balls import ball_of
from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.run import RetrievalBatch, Run, evaluation_mode
from mmrobust.attacks.steps import Alternate, ImageStep, Step, TextStep
from mmrobust.attacks.text_search.base import Language, characters_changed, words_changed
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.errors import UserError
from mmrobust.models.base import DualEncoder
from mmrobust.threat import TextBudget, ThreatModel, refuse_unfit_budgets


@dataclass(frozen=True)
class Adversarial:
    """What the wrapper certifies of an attack's output: inputs and how far they moved.

    Fields:
        images: (B, 3, H, W) in [0, 1], within the image budget.
        captions: C captions, within the text budget.
        perturbation: (B,) float64, distance of each image from its original in the budget's norm.
        words_changed: (C,) words replaced in each caption.
        characters_changed: (C,) Levenshtein distance of each caption from its original.
        zero_gradients: (B,) share of an image's gradients that were zero; NaN if it had none.
        image_passes: (B,) times that each image was shown to the model by a search.
    """

    images: Tensor
    captions: tuple[str, ...]
    perturbation: Tensor
    words_changed: Tensor
    characters_changed: Tensor
    zero_gradients: Tensor
    image_passes: Tensor


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
        language: Language,
        noise: ItemNoise,
    ) -> Adversarial:
        """Run the recipe on a batch and hold its outcome to the threat model.

        Images are brought within their budget whatever a step returned; a caption that left its
        budget is an error of the step, since there is no nearest allowed caption. Where the
        threat model allows queries only, gradients are switched off.

        Raises:
            UserError: the recipe perturbs a modality for which the threat model has no budget,
                the batch holds what can't be attacked, or knowledge is missing that it asks for.
        """
        self.check(threat_model)
        check_batch(batch)
        queries = threat_model.knowledge == "query"
        with evaluation_mode(model), torch.set_grad_enabled(not queries):
            run = Run.begin(model, batch, threat_model, language, noise)
            for step in self.recipe():
                run.take(step)
        return _outcome(run)

    def perturbs(self) -> set[str]:
        """The modalities that the recipe changes, of "image" and "text"."""
        return {modality for step in self.recipe() for modality in _modalities(step)}

    def uses_gradients(self) -> bool:
        """Whether a step asks for gradients, which a query-only attacker doesn't have."""
        return any(_uses_gradients(step) for step in self.recipe())

    def uses_masked_lm(self) -> bool:
        """Whether a step asks the masked language model."""
        return any(
            part.kind in ("masked_lm", "similarity")
            for search in _text_searches(self.recipe())
            for part in (search.candidates, *search.constraints)
        )

    def check(self, threat_model: ThreatModel) -> None:
        """Raise `UserError` unless every step has a budget and every budget is used."""
        budgets = {"image": threat_model.image, "text": threat_model.text}
        given = {modality for modality, budget in budgets.items() if budget is not None}
        refuse_unfit_budgets(f"attack {self!r}", perturbs=self.perturbs(), given=given)
        if threat_model.knowledge == "query" and self.uses_gradients():
            raise UserError(
                f"attack {self!r} uses gradients, which its threat model (knowledge: query) "
                "doesn't give; allowed are attacks by scores such as `square`"
            )


def check_batch(batch: RetrievalBatch) -> None:
    """Raise `UserError` for pixels or captions that no attack can start from."""
    images = batch.images
    if images.numel() and not bool(((images >= 0) & (images <= 1)).all()):
        raise UserError("attack: images hold pixels outside 0..1 (or NaN); allowed: [0, 1]")
    alone = set(range(len(images))) - set(batch.caption_image.tolist())
    if alone:
        raise UserError(f"attack: image {min(alone)} of the batch has no caption")
    for row, caption in enumerate(batch.captions):
        if not caption.strip():
            raise UserError(f"attack: caption {row} of the batch is empty")
        words = " ".join(caption.split())
        if caption != words:
            raise UserError(
                f"attack: caption {row} of the batch, {words!r}, has blanks other than one space "
                "between words"
            )


def _modalities(step: Step) -> Sequence[str]:
    if isinstance(step, Alternate):
        return ("image", "text")
    return ("image",) if isinstance(step, ImageStep) else ("text",)


def _uses_gradients(step: Step) -> bool:
    if isinstance(step, Alternate):
        return _uses_gradients(step.image) or _uses_gradients(step.text)
    if isinstance(step, ImageStep):
        return step.search.uses_gradients
    importance = step.search.importance
    return importance is not None and importance.kind == "gradient"


def _text_searches(steps: Sequence[Step]) -> list[TextSearch]:
    texts = [step.text if isinstance(step, Alternate) else step for step in steps]
    return [step.search for step in texts if isinstance(step, TextStep)]


def _outcome(run: Run) -> Adversarial:
    """The run's inputs as they ended, recounted from the originals."""
    pairs = list(zip(run.batch.captions, run.captions, strict=True))
    words = torch.tensor([words_changed(*pair) for pair in pairs], dtype=torch.int64)
    characters = torch.tensor([characters_changed(*pair) for pair in pairs], dtype=torch.int64)
    _refuse_escaped(run, words, characters)
    moved = run.images.double() - run.batch.images.double()
    budget = run.threat_model.image
    return Adversarial(
        images=run.images.clone(),
        captions=tuple(run.captions),
        perturbation=moved.new_zeros(len(moved)) if budget is None else ball_of(budget).size(moved),
        words_changed=words,
        characters_changed=characters,
        zero_gradients=run.count.zero / run.count.all,
        image_passes=run.count.image_passes,
    )


def _refuse_escaped(run: Run, words: Tensor, characters: Tensor) -> None:
    """AssertionError if a step left the text budget, whatever it says of itself."""
    budget = run.threat_model.text or TextBudget(words=0)
    if len(words) and int(words.max()) > budget.words:
        raise AssertionError(f"a text step changed {int(words.max())} words of {budget.words}")
    limit = budget.characters
    if limit is not None and len(characters) and int(characters.max()) > limit:
        raise AssertionError(f"a text step changed {int(characters.max())} characters of {limit}")
    changed = (words > 0).nonzero().flatten().tolist()
    if budget.keeps_truth and changed:
        numbers = run.batch.caption_numbers()
        true = run.language.require_truth()(
            [run.captions[row] for row in changed], [numbers[row] for row in changed]
        )
        if not true.all():
            false = run.captions[changed[int((~true).argmax())]]
            raise AssertionError(f"a text step made a caption false: {false!r}")
