"""One recipe on one batch: the inputs as they are now, and the steps that change them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmrobust.attacks.alternation import alternate
from mmrobust.attacks.image_search.balls import ball_of
from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.objectives import Context, Distractors, ImageObjective
from mmrobust.attacks.steps import ImageStep, Step, TextStep, Trajectory
from mmrobust.attacks.text_search.base import Language
from mmrobust.attacks.text_search.memory import TextMemory
from mmrobust.models.base import DualEncoder
from mmrobust.models.encoding import embed_images
from mmrobust.threat import ThreatModel


@dataclass(frozen=True)
class RetrievalBatch:
    """Items under attack: images with all their captions.

    Fields:
        images: (B, 3, H, W) in [0, 1].
        captions: C captions, words separated by single spaces.
        caption_image: (C,) int64, the row of `images` that each caption belongs to.
        numbers: what each image is known by, to whoever decides truth; None: its row.
        distractors: clean embeddings of the gallery, under the model that is attacked; None: the
            batch is its own gallery.
        own: (B,) row of the gallery at which each image stands; None: its row in the batch.
    """

    images: Tensor
    captions: tuple[str, ...]
    caption_image: Tensor
    numbers: tuple[int, ...] | None = None
    distractors: Distractors | None = None
    own: Tensor | None = None

    def caption_numbers(self) -> list[int]:
        """The number (C,) of each caption's image."""
        rows = self.caption_image.tolist()
        return rows if self.numbers is None else [self.numbers[row] for row in rows]


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


class GradientCount:
    """How many gradients each item was given, and how many of them were zero or not finite."""

    def __init__(self, items: int, device: torch.device) -> None:
        self.zero = torch.zeros(items, dtype=torch.int64, device=device)
        self.all = torch.zeros(items, dtype=torch.int64, device=device)
        self.image_passes = torch.zeros(items, dtype=torch.int64, device=device)

    def note(self, gradient: Tensor, items: Tensor) -> Tensor:
        """Count a gradient (B, 3, H, W) and return it with what is not finite set to zero."""
        gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
        self.all[items] += 1
        self.zero[items] += (gradient == 0).flatten(1).all(dim=1)
        return gradient


class Run:
    """The state of one recipe on some items."""

    def __init__(
        self,
        memory: TextMemory,
        batch: RetrievalBatch,
        threat_model: ThreatModel,
        language: Language,
        noise: ItemNoise,
        *,
        context: Context,
        count: GradientCount,
        items: Tensor,
    ) -> None:
        self.memory, self.model, self.batch = memory, memory.model, batch
        self.threat_model, self.language, self.noise = threat_model, language, noise
        self.context, self.count, self.items = context, count, items
        self.images, self.previous = batch.images, batch.images
        self.captions: Sequence[str] = batch.captions
        self.text = context.text

    @classmethod
    def begin(
        cls,
        model: DualEncoder,
        batch: RetrievalBatch,
        threat_model: ThreatModel,
        language: Language,
        noise: ItemNoise,
    ) -> Run:
        """A run on all items of a batch, with the clean embeddings that objectives refer to."""
        memory = TextMemory(model)
        image, text = embed_images(model, batch.images), memory.embed(batch.captions)
        caption_image = batch.caption_image.to(image.device)
        rows = torch.arange(len(batch.images), device=image.device)
        context = Context(
            image=image,
            text=text,
            caption_image=caption_image,
            scale=model.scale().detach(),
            distractors=batch.distractors or Distractors(image, text, caption_image),
            own=rows if batch.own is None else batch.own.to(image.device),
        )
        count = GradientCount(len(rows), image.device)
        return cls(
            memory, batch, threat_model, language, noise, context=context, count=count, items=rows
        )

    def take(self, step: Step) -> None:
        """Carry out one step."""
        if isinstance(step, ImageStep):
            self.perturb_images(step)
        elif isinstance(step, TextStep):
            self.perturb_captions(step)
        else:
            alternate(self, step)

    def perturb_images(self, step: ImageStep, *, start: Tensor | None = None) -> None:
        """Replace the images by what the search finds, brought within the budget exactly."""
        assert self.threat_model.image is not None
        text = self.context.text if step.guide == "original" else self.text

        def objective(images: Tensor) -> Tensor:
            self.count.image_passes[self.items] += 1
            shown = images.view_as(images)  # seen by this pass alone, so that it counts once
            if shown.requires_grad:
                shown.register_hook(lambda g: self.count.note(g, self.items))  # type: ignore[no-untyped-call]
            value = step.objective(self.model.encode_image(shown), text, self.context)
            # A model may cut its image features off from gradients: they are zero then.
            return value + 0 * shown.flatten(1).sum(dim=1)

        found = step.search(
            objective,
            self.batch.images,
            start=start,
            budget=self.threat_model.image,
            noise=self.noise,
        )
        ball = ball_of(self.threat_model.image)
        self.images = ball.confine(found.images.detach(), self.batch.images)
        self.previous = ball.confine(found.previous.detach(), self.batch.images)

    def perturb_captions(self, step: TextStep) -> None:
        """Replace the captions by what the search finds from the original ones."""
        assert self.threat_model.text is not None
        guide = self._image_guide(step.guide)
        self.captions, self.text = step.search(
            self.memory,
            self.batch.captions,
            lambda rows, owner: step.objective(rows, owner, guide, self.context),
            budget=self.threat_model.text,
            images=self.batch.caption_numbers(),
            language=self.language,
        )

    def _image_guide(self, guide: str | Trajectory) -> Tensor:
        """Embeddings (B, D) of the guiding images; of a mixture, not of unit norm."""
        if guide == "original":
            return self.context.image
        current = embed_images(self.model, self.images)
        if not isinstance(guide, Trajectory):
            return current
        previous = embed_images(self.model, self.previous)
        return (
            guide.original * self.context.image
            + guide.current * current
            + guide.previous * previous
        )

    @torch.no_grad()
    def loss(self, objective: ImageObjective) -> Tensor:
        """Value (B,) of an objective for the items as they are now."""
        return objective(embed_images(self.model, self.images), self.text, self.context)

    def part(self, rows: Sequence[int]) -> Run:
        """A run on some of the items, as they are now; what it does stays with it."""
        rows = list(rows)
        kept = torch.tensor(rows, dtype=torch.int64, device=self.context.image.device)
        captions = torch.isin(self.context.caption_image, kept).nonzero().flatten()
        place = torch.empty(len(self.images), dtype=torch.int64, device=kept.device)
        place[kept] = torch.arange(len(rows), device=kept.device)
        caption_image = place[self.context.caption_image[captions]]
        chosen = captions.tolist()
        numbers = self.batch.numbers or tuple(range(len(self.images)))
        part = Run(
            self.memory,
            replace(
                self.batch,
                images=self.batch.images[kept],
                captions=tuple(self.batch.captions[row] for row in chosen),
                caption_image=caption_image,
                numbers=tuple(numbers[row] for row in rows),
                own=None if self.batch.own is None else self.batch.own[rows],
            ),
            self.threat_model,
            self.language,
            self.noise.take(rows),
            context=replace(
                self.context,
                image=self.context.image[kept],
                text=self.context.text[captions],
                caption_image=caption_image,
                own=self.context.own[kept],
            ),
            count=self.count,
            items=self.items[kept],
        )
        part.images, part.previous = self.images[kept], self.previous[kept]
        part.captions, part.text = [self.captions[row] for row in chosen], self.text[captions]
        return part

    def adopt(
        self, part: Run, better: Sequence[bool], *, rows: Sequence[int] | None = None
    ) -> None:
        """Take over the items of a part that are better; `rows` are its places here."""
        rows = range(len(self.images)) if rows is None else rows
        chosen = [at for at, takes in enumerate(better) if takes]
        here = [rows[at] for at in chosen]
        self.images, self.previous = self.images.clone(), self.previous.clone()
        self.images[here], self.previous[here] = part.images[chosen], part.previous[chosen]
        captions, self.text = list(self.captions), self.text.clone()
        for at, row in zip(chosen, here, strict=True):
            own = (self.context.caption_image == row).nonzero().flatten()
            theirs = (part.context.caption_image == at).nonzero().flatten()
            self.text[own] = part.text[theirs]
            for to, of in zip(own.tolist(), theirs.tolist(), strict=True):
                captions[to] = part.captions[of]
        self.captions = captions
