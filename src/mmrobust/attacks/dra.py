"""DRA: SGA with guidance along the adversarial trajectory."""

from __future__ import annotations

from dataclasses import dataclass

from mmrobust.attacks.base import Attack
from mmrobust.attacks.bert_attack import bert_search
from mmrobust.attacks.image_search.trajectory_mixing import TrajectoryMixing
from mmrobust.attacks.steps import ImageStep, Step, TextStep, Trajectory
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.quantities import Distance, NonNegativeFloat, PositiveFloat, PositiveInt


@dataclass(frozen=True, kw_only=True)
class DRA(Attack):
    """Diversification along the intersection region of the adversarial trajectory.

    Gao et al. 2024, arXiv:2403.12445, section 3. Like SGA, but each image step follows the gradient
    at the best of several points between the original, the current and the previous image, and the
    last text step is guided by all three.

    Fields:
        step_size: length of an image step in pixel units; None for 1.25 eps / steps.
        steps: number of image steps (released code: 10).
        samples: points tried in each step (released code: 5).
        scales: rescaled copies that guide the image beside itself.
        noise_std: Gaussian noise on each copy (released code: 0.05).
        original, current, previous: weights of the three images in the last text step (released
            code: 0.6, 0.2, 0.2).
        text: the text search; by default that of the released code, with its offset.

    Deviations:
        The released default is eps 8/255 with steps of 2/255; here the step is the one that the
        other attacks take at 2/255, and eps is the threat model's. The point is chosen for each
        image and not for a batch at once. The text search deviates as
        `bert_attack_released` does.
    """

    step_size: Distance | None = 0.5 / 255
    steps: PositiveInt = 10
    samples: PositiveInt = 5
    scales: tuple[PositiveFloat, ...] = (0.5, 0.75, 1.25, 1.5)
    noise_std: NonNegativeFloat = 0.05
    original: NonNegativeFloat = 0.6
    current: NonNegativeFloat = 0.2
    previous: NonNegativeFloat = 0.2
    text: TextSearch = bert_search(aligned=False)

    def recipe(self) -> tuple[Step, ...]:
        """Text by clean image, image by adversarial captions, text by the trajectory."""
        image_search = TrajectoryMixing(
            step_size=self.step_size,
            steps=self.steps,
            samples=self.samples,
            scales=self.scales,
            noise_std=self.noise_std,
        )
        trajectory = Trajectory(
            original=self.original, current=self.current, previous=self.previous
        )
        return (
            TextStep(search=self.text, guide="original"),
            ImageStep(search=image_search, guide="current"),
            TextStep(search=self.text, guide=trajectory),
        )
