from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmrobust.attacks.text_search.base import Language
from mmrobust.data.prepare import build_dataset
from mmrobust.data.scenes.lexicon import lexicon
from mmrobust.data.scenes.vocabulary import VOCABULARY
from mmrobust.evaluation.hard_negatives import hard_negative_accuracy, hard_negatives
from mmrobust.intervals import Resampling

COMMON = {concept[0] for concepts in VOCABULARY.values() for concept in concepts}
KINDS = Language(
    synonyms={"red": ["crimson"], "crimson": ["red"]},
    alternatives={"red": ["crimson", "blue"], "crimson": ["red", "blue"], "ring": ["star"]},
    antonyms={"red": ["green"], "big": ["small"]},
)


def test_one_word_becomes_another_of_its_kind_that_means_something_else() -> None:
    captions = ["a red ring"] * 200
    found = hard_negatives(captions, [0] * 200, KINDS)
    assert set(found) == {"a blue ring", "a red star"}
    share = np.mean([text == "a blue ring" for text in found])
    assert 0.4 < share < 0.6  # places are drawn alike, however many words stand in each


def test_without_kinds_a_word_becomes_its_opposite() -> None:
    assert hard_negatives(["a big house", "a house"], [0, 1], KINDS) == ["a small house", None]


def test_negatives_are_false_where_truth_is_decided() -> None:
    """Of two pictures one is blue and one shows both shapes, so that only one swap is false."""

    def is_true(captions: Any, images: Any) -> Any:
        true = {0: {"a blue ring"}, 1: {"a red star", "a blue ring"}}
        return np.array([text in true[image] for text, image in zip(captions, images, strict=True)])

    language = Language(alternatives=KINDS.alternatives, synonyms=KINDS.synonyms, is_true=is_true)
    found = hard_negatives(["a red ring"] * 60, [0] * 30 + [1] * 30, language)
    assert set(found[:30]) == {"a red star"}
    assert set(found[30:]) == {None}


def test_in_scenes_nearly_every_caption_has_a_false_twin() -> None:
    section = {"name": "scenes", "splits": {"train": 4, "dev": 4, "test": 60}, "image_size": 24}
    dataset: Any = build_dataset(section)
    words = lexicon()
    language = Language(**vars(words), is_true=dataset.truth("test", seed=0))
    captions = dataset._captions("test", dataset.scenes(seed=0)["test"], seed=0)
    owner = np.repeat(np.arange(60), 5).tolist()
    found = hard_negatives(captions, owner, language)
    assert sum(text is None for text in found) <= 3
    told = [(a, b, image) for a, b, image in zip(captions, found, owner, strict=True) if b]
    assert not language.require_truth()(
        [b for _, b, _ in told], [image for *_, image in told]
    ).any()
    rare = []
    for before, after, _ in told:
        pairs = zip(before.split(), after.split(), strict=True)
        changed = [(a, b) for a, b in pairs if a != b]
        *articles, (old, new) = changed
        assert len(changed) <= 2
        assert all({a, b} == {"a", "an"} for a, b in articles)
        assert new not in words.synonyms[old]
        spoken = after.split()
        for article, word in itertools.pairwise(spoken):
            if article in ("a", "an"):
                assert (article == "an") == (word[0] in "aeiou")
        rare.append([word not in COMMON for word in (old, new)])
    before_and_after = np.mean(rare, axis=0)
    assert before_and_after[0] > 0.2
    assert before_and_after[0] == pytest.approx(before_and_after[1], abs=0.01)


class Meaning:
    """Embeds a caption by the words that it hears, an image as told."""

    def __init__(self, hears: set[str]) -> None:
        self.hears = hears
        self.split = SimpleNamespace(
            captions=["a red ring", "a red star"], caption_image=np.array([0, 1])
        )
        self.clean_text = self.embed_attacked(self.split.captions)
        self.clean_image = Meaning.words({"red", "ring"}), Meaning.words({"red", "star"})
        self.clean_image = np.stack(self.clean_image)

    @staticmethod
    def words(words: set[str]) -> Any:
        return np.array([word in words for word in ("red", "blue", "ring", "star")], np.float32)

    def embed_attacked(self, captions: Any) -> Any:
        return np.stack([self.words(set(caption.split()) & self.hears) for caption in captions])


def accuracy(hears: set[str]) -> dict[str, Any]:
    subject: Any = Meaning(hears)
    language = Language(alternatives={"red": ["blue"], "ring": ["star"], "star": ["ring"]})
    resampling = Resampling(n_resamples=50, confidence=0.95, generator=np.random.default_rng(0))
    found = hard_negative_accuracy(subject, language, resampling)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("hears", "value"),
    [({"red", "blue", "ring", "star"}, 1.0), (set(), 0.0)],
    ids=["reads", "ignores words: ties count against it"],
)
def test_a_model_that_ignores_words_is_found_out(hears: set[str], value: float) -> None:
    found = accuracy(hears)
    assert found["value"] == value
    assert found["n"] == 2


def test_without_negatives_there_is_no_value() -> None:
    subject: Any = Meaning(set())
    resampling = Resampling(n_resamples=50, confidence=0.95, generator=np.random.default_rng(0))
    assert hard_negative_accuracy(subject, Language(), resampling) is None
