"""What there is to know of the language of captions: which word can stand for which."""

from __future__ import annotations

from mmrobust.data.prepared import Lexicon
from mmrobust.data.scenes.grammar import FUNCTION_WORDS, word_class
from mmrobust.data.scenes.vocabulary import MEANINGS, OPPOSITES, VOCABULARY


def lexicon() -> Lexicon:
    """The lexicon of the whole language, whatever captions were drawn.

    Returns:
        Synonyms are the other words of a concept, alternatives all other words that the grammar
        reads in the same place, those of other concepts included: "left" and "above" are built
        into a sentence differently and stand in for each other nowhere. Antonyms are all words
        of the opposite concept, where there is one. Stop words are the grammar's function words.
    """
    return Lexicon(
        synonyms={word: _without(word, _concept(word)) for word in MEANINGS},
        alternatives=_alternatives(),
        antonyms={
            word: _concept(OPPOSITES[common])
            for word in MEANINGS
            if (common := _concept(word)[0]) in OPPOSITES
        },
        stop_words=frozenset(FUNCTION_WORDS),
    )


def _alternatives() -> dict[str, tuple[str, ...]]:
    common = [words[0] for concepts in VOCABULARY.values() for words in concepts]
    ordered = [*common, *(word for word in MEANINGS if word not in common)]
    return {
        word: _without(word, [other for other in ordered if word_class(other) == word_class(word)])
        for word in MEANINGS
    }


def _concept(word: str) -> tuple[str, ...]:
    """All words of the concept that `word` stands for, the common one first."""
    kind, value = MEANINGS[word]
    return VOCABULARY[kind][value]


def _without(word: str, words: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return tuple(other for other in words if other != word)
