from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmrobust.attacks.text_search.base import Language
from mmrobust.data.prepare import build_dataset
from mmrobust.data.scenes.lexicon import lexicon
from mmrobust.evaluation.hard_negatives import hard_negatives, rare_word_pairs, reading_checks
from mmrobust.intervals import Resampling

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


def scenes_captions() -> tuple[list[str], list[int], Language]:
    section = {"name": "scenes", "splits": {"train": 4, "dev": 4, "test": 60}, "image_size": 24}
    dataset: Any = build_dataset(section)
    words = lexicon()
    language = Language(**vars(words), is_true=dataset.truth("test", seed=0))
    captions = dataset._captions("test", dataset.scenes(seed=0)["test"], seed=0)
    return captions, np.repeat(np.arange(60), 5).tolist(), language


def is_rare(word: str, captions: list[str], language: Language) -> bool:
    spoken = [heard for caption in captions for heard in caption.split()]
    same = language.synonyms.get(word, ())
    return any(spoken.count(other) > spoken.count(word) for other in same)


def test_in_scenes_nearly_every_caption_has_a_false_twin() -> None:
    captions, owner, language = scenes_captions()
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
        assert new not in language.synonyms[old]
        spoken = after.split()
        for article, word in itertools.pairwise(spoken):
            if article in ("a", "an"):
                assert (article == "an") == (word[0] in "aeiou")
        rare.append([is_rare(word, captions, language) for word in (old, new)])
    assert np.mean(rare) > 0.02
    assert all(old == new for old, new in rare)


def test_a_rare_word_stands_where_a_common_one_was_right_and_wrong() -> None:
    captions, owner, language = scenes_captions()
    found = rare_word_pairs(captions, owner, language)
    assert sum(pair is None for pair in found) <= 3
    told = [row for row, pair in enumerate(found) if pair is not None]
    images = [owner[row] for row in told]
    for side, true in enumerate((True, False)):
        texts = [pair[side] for pair in found if pair is not None]
        assert (language.require_truth()(texts, images) == true).all()
    for row in told:
        right, wrong = found[row] or ("", "")
        words = [text.split() for text in (captions[row], right, wrong)]
        *_, (old, same, other) = [of for of in zip(*words, strict=True) if len(set(of)) > 1]
        assert same in language.synonyms[old]
        assert other not in (old, *language.synonyms[old])
        rare = [is_rare(word, captions, language) for word in (old, same, other)]
        assert rare == [False, True, True]


def test_without_kinds_a_rare_word_has_a_rare_opposite_or_no_twin() -> None:
    language = Language(
        synonyms={"big": ["vast"], "small": ["tiny"], "vast": ["big"], "tiny": ["small"]},
        antonyms={"big": ["small", "tiny"], "vast": ["small", "tiny"], "hot": ["cold"]},
    )
    captions = ["a big house", "a small house", "a hot house"]
    found = rare_word_pairs(captions, [0, 1, 2], language)
    assert found == [("a vast house", "a tiny house"), None, None]


def test_of_two_words_that_are_said_as_often_neither_is_rare() -> None:
    language = Language(
        synonyms={"red": ["crimson"], "crimson": ["red"], "blue": ["azure"], "azure": ["blue"]},
        alternatives={"red": ["blue", "azure"]},
    )
    captions = ["a red ring", "a crimson ring", "a blue ring"]
    assert hard_negatives(captions, [0, 1, 2], language) == ["a blue ring", None, None]


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


def test_captions_that_read_alike_only_within_a_call_still_tie() -> None:
    """As embeddings do, whose last bits depend on what else is encoded with them."""

    class Rounding(Meaning):
        calls = 0

        def embed_attacked(self, captions: Any) -> Any:
            self.calls += 1
            return super().embed_attacked(captions) - np.float32(1e-6 * self.calls)

    subject: Any = Rounding({"ring", "star"})
    language = Language(alternatives={"red": ["blue"]})
    resampling = Resampling(n_resamples=50, confidence=0.95, generator=np.random.default_rng(0))
    assert reading_checks(subject, language, resampling)["hard_negatives"]["value"] == 0.0


def accuracy(hears: set[str]) -> dict[str, Any]:
    subject: Any = Meaning(hears)
    language = Language(alternatives={"red": ["blue"], "ring": ["star"], "star": ["ring"]})
    resampling = Resampling(n_resamples=50, confidence=0.95, generator=np.random.default_rng(0))
    return reading_checks(subject, language, resampling)["hard_negatives"]


@pytest.mark.parametrize(
    ("hears", "value"),
    [({"red", "blue", "ring", "star"}, 1.0), (set(), 0.0)],
    ids=["reads", "ignores words: ties count against it"],
)
def test_a_model_that_ignores_words_is_found_out(hears: set[str], value: float) -> None:
    found = accuracy(hears)
    assert found["value"] == value
    assert found["n"] == 2


def test_captions_are_held_against_their_own_image_and_counted_by_it() -> None:
    subject: Any = Meaning({"red", "blue", "ring", "star"})
    subject.split.captions = ["a red ring", "red ring", "a red star", "star"]
    subject.split.caption_image = np.array([0, 0, 1, 1])
    language = Language(alternatives={"ring": ["star"], "star": ["ring"]})
    resampling = Resampling(n_resamples=50, confidence=0.95, generator=np.random.default_rng(0))
    found = reading_checks(subject, language, resampling)["hard_negatives"]
    assert (found["value"], found["n"], found["high"]) == (1.0, 4, 1.0)
    assert found["low"] == pytest.approx(0.025 ** (1 / 2))  # Clopper-Pearson of two images


def test_without_negatives_there_is_no_value() -> None:
    subject: Any = Meaning(set())
    resampling = Resampling(n_resamples=50, confidence=0.95, generator=np.random.default_rng(0))
    assert reading_checks(subject, Language(), resampling) == {}


@pytest.mark.parametrize(
    ("hears", "rare"), [({"red", "ring", "star"}, 0.0), ({"red", "ring", "star", "crimson"}, 1.0)]
)
def test_a_model_that_passes_over_rare_words_is_found_out(hears: set[str], rare: float) -> None:
    subject: Any = Meaning(hears)
    subject.words = lambda heard: np.array(
        [bool(heard & {"red", "crimson"}), *(word in heard for word in ("blue", "ring", "star"))],
        np.float32,
    )
    language = Language(
        synonyms={"red": ["crimson"], "crimson": ["red"], "blue": ["azure"], "azure": ["blue"]},
        alternatives={"red": ["blue"], "crimson": ["azure", "blue"], "ring": ["star"]},
    )
    subject.split.captions = ["a red ring", "a red star", "a blue one"]
    subject.split.caption_image = np.array([0, 1, 1])
    subject.clean_text = subject.embed_attacked(subject.split.captions)
    resampling = Resampling(n_resamples=50, confidence=0.95, generator=np.random.default_rng(0))
    found = reading_checks(subject, language, resampling)
    assert found["rare_hard_negatives"]["value"] == rare
    assert found["rare_hard_negatives"]["n"] == 2
    assert found["hard_negatives"]["value"] == 1.0
