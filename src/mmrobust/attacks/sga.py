"""SGA: set-level guidance across modalities."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.base import Attack
from mmrobust.attacks.bert_attack import bert_search
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.steps import ImageStep, Step, TextStep
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.quantities import Distance, NonNegativeFloat, PositiveFloat, PositiveInt


@dataclass(frozen=True, kw_only=True)
class SGA(Attack):
    """Set-level Guidance Attack, Lu et al. 2023, arXiv:2307.14061, section 4.

    Captions are attacked by their clean image, the image by the set of all its adversarial
    captions over several scales, and the captions once more, from the original ones, by the
    adversarial image.

    Fields:
        step_size: length of an image step in pixel units (released code: 0.5/255); None for
            1.25 eps / steps, which suits any norm.
        steps: number of image steps (released code: 10).
        scales: rescaled copies that guide the image beside itself (released code: these four).
        noise_std: Gaussian noise on each copy (released code: 0.05).
        text: the text search; by default that of the released code, with its offset.

    Deviations:
        Copies are resized without antialiasing, by whole pixels, as torch's default has it. Noise
        and starts are drawn image by image, so that they don't depend on the batch. The text
        search deviates as `bert_attack_released` does.
    """

    step_size: Distance | None = 0.5 / 255
    steps: PositiveInt = 10
    scales: tuple[PositiveFloat, ...] = (0.5, 0.75, 1.25, 1.5)
    noise_std: NonNegativeFloat = 0.05
    text: TextSearch = bert_search(aligned=False)

    def recipe(self) -> tuple[Step, ...]:
        """Text by clean image, image by adversarial captions, text by adversarial image."""
        image_search = GradientAscent(
            step_size=self.step_size,
            steps=self.steps,
            scales=self.scales,
            noise_std=self.noise_std,
        )
        return (
            TextStep(search=self.text, guide="original"),
            ImageStep(search=image_search, guide="current"),
            TextStep(search=self.text, guide="current"),
        )
