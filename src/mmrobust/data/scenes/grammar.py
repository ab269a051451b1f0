"""What a caption says: the grammar of the sentences and how they are read.

A caption is a sequence of one to three noun phrases. Each names a colour and a shape, perhaps a
size; two neighbours are joined by "and", "with" or a relation; a background may be named at the
start, at the end or as the subject. A relation may come first ("above a red disc there is ...").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmrobust.data.scenes.scene import LEFT, MAX_OBJECTS, RIGHT, IntArray
from mmrobust.data.scenes.vocabulary import MEANINGS


class Mention(NamedTuple):
    """One noun phrase; `size` is -1 where the caption leaves it open."""

    colour: int
    shape: int
    size: int


class Proposition(NamedTuple):
    """The meaning of a caption.

    Attributes:
        mentions: one to three noun phrases, in the order of the text.
        links: one fewer; what each mention is to the next one, -1 if nothing is said.
        background: index into `BACKGROUNDS`, -1 if nothing is said.
    """

    mentions: tuple[Mention, ...]
    links: tuple[int, ...]
    background: int


@dataclass(frozen=True, kw_only=True)
class Propositions:
    """C propositions as int64 arrays; -1 marks what is not said.

    Attributes:
        valid: (C,) false where the caption could not be read.
        colour: (C, 3), -1 past the last mention.
        shape: (C, 3), -1 past the last mention.
        size: (C, 3).
        link: (C, 2) what mention i is to mention i + 1.
        background: (C,).
    """

    valid: npt.NDArray[np.bool_]
    colour: IntArray
    shape: IntArray
    size: IntArray
    link: IntArray
    background: IntArray

    def __len__(self) -> int:
        return len(self.background)

    def take(self, rows: npt.NDArray[np.integer | np.bool_]) -> Propositions:
        """The propositions of `rows` (indices or a mask), in that order."""
        return Propositions(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def __iter__(self) -> Iterator[Proposition]:
        rows = zip(
            self.colour.tolist(),
            self.shape.tolist(),
            self.size.tolist(),
            self.link.tolist(),
            self.background.tolist(),
            strict=True,
        )
        for colours, shapes, sizes, links, background in rows:
            n = sum(colour >= 0 for colour in colours)
            mentions = tuple(map(Mention, colours[:n], shapes[:n], sizes[:n]))
            yield Proposition(mentions, tuple(links[: max(n - 1, 0)]), background)


# A sentence is matched as a string of one letter per word: capitals are concepts.
FUNCTION_WORDS = {
    "a": "a", "an": "a", "the": "t", "of": "f", "to": "o", "and": "&", "with": "+", "on": "@",
    "against": "@", "there": "e", "here": "e", "we": "w", "see": "s", "this": "d", "is": "i",
    "which": "k",
}  # fmt: skip
_KINDS = {
    "size": "S", "colour": "C", "shape": "O", "background": "B", "ground": "G", "picture": "P",
    "show": "W",
}  # fmt: skip


def word_class(word: str) -> str:
    """The letter of a content word; words of one letter can stand in each other's place."""
    kind, value = MEANINGS[word]
    if kind == "relation":
        return "H" if value in (LEFT, RIGHT) else "V"
    return _KINDS[kind]


_LETTERS = {**FUNCTION_WORDS, **{word: word_class(word) for word in MEANINGS}}

_NOUN_PHRASE = "[at]S?CO"
_RELATION = "(?:(?:ot)?Hf|V)"
_LINK = f"(?:[&+]|k?i?{_RELATION})"
_LEAD = "(?:ei|ws|[at]Pf|[dt]PW)"
_PLAIN = f"{_LEAD}?{_NOUN_PHRASE}(?:{_LINK}{_NOUN_PHRASE}){{0,2}}"
_FRONTED = f"{_RELATION}{_NOUN_PHRASE}(?:e?i|ws){_NOUN_PHRASE}(?:{_LINK}{_NOUN_PHRASE})?"
_BODY = f"(?:{_PLAIN}|{_FRONTED})"
_GROUND = "[at]BG"
_SENTENCE = re.compile(f"(?:@{_GROUND})?{_BODY}|{_BODY}@{_GROUND}|{_LEAD}?{_GROUND}\\+{_PLAIN}")


def parse(caption: str) -> Proposition | None:
    """Read a caption; None if it is no sentence of the grammar.

    Case does not matter, nor does the choice between "a" and "an".
    """
    words = caption.lower().split()
    try:
        pattern = "".join([_LETTERS[word] for word in words])
    except KeyError:
        return None
    if _SENTENCE.fullmatch(pattern) is None:
        return None
    mentions: list[Mention] = []
    links = [-1] * MAX_OBJECTS
    size = colour = background = -1
    for word, letter in zip(words, pattern, strict=True):
        if letter == "S":
            size = MEANINGS[word].value
        elif letter == "C":
            colour = MEANINGS[word].value
        elif letter == "O":
            mentions.append(Mention(colour, MEANINGS[word].value, size))
            size = -1
        elif letter == "B":
            background = MEANINGS[word].value
        elif letter in "HV":
            value = MEANINGS[word].value
            if mentions:
                links[len(mentions) - 1] = value
            else:  # "above A there is B": A is below B
                links[0] = value ^ 1
    return Proposition(tuple(mentions), tuple(links[: len(mentions) - 1]), background)


def parse_all(captions: Sequence[str]) -> Propositions:
    """Read C captions into arrays; a caption that repeats is read once."""
    unique = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
    table = np.full((len(unique), 3 * MAX_OBJECTS + MAX_OBJECTS + 1), -1, dtype=np.int64)
    table[:, -1] = 0
    for caption, number in unique.items():
        read = parse(caption)
        if read is not None:
            table[number] = _row(read)
    rows = table[[unique[caption] for caption in captions]] if unique else table
    return Propositions(
        valid=rows[:, 12] == 1,
        colour=rows[:, 0:3],
        shape=rows[:, 3:6],
        size=rows[:, 6:9],
        link=rows[:, 9:11],
        background=rows[:, 11],
    )


def _row(proposition: Proposition) -> list[int]:
    """Colours, shapes, sizes, links, background and 1 (read), padded with -1."""
    missing = MAX_OBJECTS - len(proposition.mentions)
    padding = [-1] * missing
    colours, shapes, sizes = zip(*proposition.mentions, strict=True)
    objects = [*colours, *padding, *shapes, *padding, *sizes, *padding]
    return [*objects, *proposition.links, *padding, proposition.background, 1]
