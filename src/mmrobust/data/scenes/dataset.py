"""The `scenes` dataset: its configuration and how it is prepared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from mmrobust.data.prepared import SPLITS, Split, write_prepared
from mmrobust.data.scenes.captions import draw_captions
from mmrobust.data.scenes.knobs import misalign_captions, repeat_captions
from mmrobust.data.scenes.lexicon import lexicon
from mmrobust.data.scenes.render import render
from mmrobust.data.scenes.scene import IntArray, SceneArrays, draw_distinct_scenes, graph_keys
from mmrobust.data.scenes.truth import BoolArray, are_true, positives_matrix
from mmrobust.data.truth import Truth
from mmrobust.errors import UserError, unknown_name
from mmrobust.randomness import numpy_generator

_DRAWING_ORDER = ("test", "dev", "train")  # the test set depends on no other split's size


def _default_splits() -> dict[str, int]:
    return {"train": 3200, "dev": 400, "test": 400}


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Small drawn pictures of coloured shapes, with captions whose truth is decided exactly.

    Raises:
        UserError: a field is out of its range.
    """

    licence: ClassVar[str] = "Apache-2.0 (generated)"
    redistributable: ClassVar[bool] = True
    decides_truth: ClassVar[bool] = True
    has_grammar: ClassVar[bool] = True

    splits: Mapping[str, int] = field(default_factory=_default_splits)
    """Number of scenes of train, dev and test, each in 1..100000."""
    image_size: int = 40
    """Side of the pictures in pixels, 24..512."""
    captions_per_scene: int = 5
    """Captions of each scene, 1..20, all different."""
    rare_word_rate: float = 0.25
    """Probability in 0..1 that a concept is spoken with one of its rare words."""
    detail: float = 0.8
    """In 0..1, how much of the scene a caption tells."""
    pixel_noise: float = 0.02
    """Standard deviation of the pixel noise in 0..1, as a share of the brightness range."""
    misalignment: float = 0.0
    """Share in 0..1 of the training captions that are false of their picture."""
    distinct_captions: int | None = None
    """Different captions among those of a training scene, 1..captions_per_scene; the rest repeat
    them. None: all."""
    renderings_per_scene: int = 1
    """Pictures of each training scene, 1..20; each has a copy of the scene's captions."""
    style_shift: float = 0.0
    """In 0..1, how far palette and texture of the training pictures are from the test set's."""
    vocabulary_shift: float = 0.0
    """In 0..1, how far the training captions go from `rare_word_rate` to rare words only."""

    def __post_init__(self) -> None:
        _check_splits(self.splits)
        shares = ("rare_word_rate", "detail", "pixel_noise", "misalignment", "style_shift")
        for name in (*shares, "vocabulary_shift"):
            _check_share(name, getattr(self, name))
        _check_count("image_size", self.image_size, 24, 512)
        _check_count("captions_per_scene", self.captions_per_scene, 1, 20)
        _check_count("renderings_per_scene", self.renderings_per_scene, 1, 20)
        if self.distinct_captions is not None:
            _check_count("distinct_captions", self.distinct_captions, 1, self.captions_per_scene)

    def prepare(self, out: Path, *, seed: int) -> None:
        """Draw all splits and write them to the folder `out`.

        Args:
            out: folder to fill, see `mmrobust.data.prepared`.
            seed: of all randomness. A split is drawn from generators of its own: the test set
                stays the same whatever the other splits and the training knobs are.
        """
        scenes = self.scenes(seed=seed)
        write_prepared(
            out,
            {name: self._split(name, scenes[name], seed=seed) for name in SPLITS},
            lexicon=lexicon(),
            dataset="scenes",
            licence=self.licence,
            redistributable=self.redistributable,
            source_resolution=None,
        )

    def scenes(self, *, seed: int) -> dict[str, SceneArrays]:
        """The scenes of each split, no two with the same graph."""
        taken: IntArray = np.empty(0, dtype=np.int64)
        drawn = {}
        for name in _DRAWING_ORDER:
            rng = numpy_generator(seed, "scenes", name)
            drawn[name] = draw_distinct_scenes(self.splits[name], rng, taken=taken)
            taken = np.concatenate([taken, graph_keys(drawn[name])])
        return {name: drawn[name] for name in SPLITS}

    def image_scenes(self, split: str, *, seed: int) -> SceneArrays:
        """The scene of each image of `split`, in the order of the prepared images."""
        scenes = self.scenes(seed=seed)[split]
        return scenes.take(np.repeat(np.arange(len(scenes)), self._renderings(split)))

    def truth(self, split: str, *, seed: int) -> Truth:
        """What decides whether captions hold of images of `split`, see `mmrobust.data.truth`.

        It asks the scene that was drawn, so a caption may be true of an image whose own captions
        are false by `misalignment`; text that is no sentence of the grammar is true of none.

        Args:
            split: `train`, `dev` or `test`.
            seed: the one the dataset was prepared with.

        Raises:
            UserError: there is no such split.
        """
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        scenes = self.image_scenes(split, seed=seed)

        def holds(captions: Sequence[str], images: Sequence[int]) -> BoolArray:
            rows = np.asarray(images, dtype=np.int64)
            if len(rows) and not 0 <= rows.min() <= rows.max() < len(scenes):
                raise ValueError(
                    f"images {rows.min()}..{rows.max()} of {len(scenes)} of split {split!r}"
                )
            return are_true(captions, scenes.take(rows))

        return holds

    def positives(self, split: str, captions: Sequence[str], *, seed: int) -> sp.csr_array:
        """Which captions hold of which images of `split`: bool (C, N)."""
        return positives_matrix(captions, self.image_scenes(split, seed=seed))

    def _renderings(self, split: str) -> int:
        return self.renderings_per_scene if split == "train" else 1

    def _split(self, name: str, scenes: SceneArrays, *, seed: int) -> Split:
        per_scene, renderings = self.captions_per_scene, self._renderings(name)
        image_scene = np.repeat(np.arange(len(scenes)), renderings)
        images = render(
            scenes.take(image_scene),
            numpy_generator(seed, "scenes", name, "pixels"),
            image_size=self.image_size,
            pixel_noise=self.pixel_noise,
            style_shift=self.style_shift if name == "train" else 0.0,
        )
        captions = self._captions(name, scenes, seed=seed)
        positives = positives_matrix(captions, scenes)
        copies = np.arange(len(captions)).reshape(-1, per_scene)[image_scene].ravel()
        return Split(
            images=images,
            captions=[captions[row] for row in copies.tolist()],
            caption_image=np.repeat(np.arange(len(image_scene)), per_scene),
            positives=positives[copies][:, image_scene],
        )

    def _captions(self, name: str, scenes: SceneArrays, *, seed: int) -> list[str]:
        """`captions_per_scene` captions of each scene, with the training knobs applied."""
        train = name == "train"
        shift = self.vocabulary_shift if train else 0.0
        captions = draw_captions(
            scenes,
            numpy_generator(seed, "scenes", name, "captions"),
            per_scene=self.captions_per_scene,
            detail=self.detail,
            rare_word_rate=self.rare_word_rate + shift * (1 - self.rare_word_rate),
        )
        if not train:
            return captions
        per_scene = self.captions_per_scene
        captions = repeat_captions(
            captions, per_scene=per_scene, distinct=self.distinct_captions or per_scene
        )
        return misalign_captions(
            captions,
            scenes.take(np.repeat(np.arange(len(scenes)), per_scene)),
            numpy_generator(seed, "scenes", name, "misalignment"),
            share=self.misalignment,
        )


def _check_splits(splits: Mapping[str, int]) -> None:
    if not isinstance(splits, Mapping):
        raise UserError(f"splits: {splits!r} is not a number of scenes for each split")
    for name in splits:
        if name not in SPLITS:
            raise UserError(f"splits: {unknown_name('split', str(name), SPLITS)}")
    for name in SPLITS:
        if name not in splits:
            raise UserError(f"splits: {name!r} is missing (needed: {', '.join(SPLITS)})")
        _check_count(f"splits.{name}", splits[name], 1, 100_000)


def _check_count(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UserError(f"{name}: {value!r} is not a whole number in {low}..{high}")


def _check_share(name: str, value: object) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:  # type: ignore[operator]
        raise UserError(f"{name}: {value!r} is not a number in 0..1")
