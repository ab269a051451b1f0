"""Concepts of the world and the words that speak of them.

Every concept has a common word, which comes first, and one to three rare ones. A word belongs to
exactly one concept, so that a sentence has at most one reading and swapping a word for another
of its concept never changes what is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

SHAPES = ("circle", "square", "triangle", "diamond", "cross", "star", "ring", "crescent")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SIZES = ("small", "large")
BACKGROUNDS = ("dark", "grey", "beige", "light")
RELATIONS = ("left", "right", "above", "below")
"""What the first object of a pair is to the second; `relation ^ 1` is the converse."""

VOCABULARY: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "shape": (
        ("circle", "disc", "disk"),
        ("square", "box", "block"),
        ("triangle", "wedge", "trigon"),
        ("diamond", "rhombus", "lozenge"),
        ("cross", "plus", "crucifix"),
        ("star", "pentagram", "asterisk"),
        ("ring", "hoop", "annulus"),
        ("crescent", "moon", "lune"),
    ),
    "colour": (
        ("red", "crimson", "scarlet", "ruby"),
        ("orange", "tangerine", "amber"),
        ("yellow", "golden", "lemon"),
        ("green", "emerald", "jade"),
        ("cyan", "turquoise", "aqua", "teal"),
        ("blue", "azure", "cobalt", "sapphire"),
        ("purple", "violet", "lilac"),
        ("pink", "rosy", "fuchsia", "magenta"),
    ),
    "size": (
        ("small", "little", "tiny", "mini"),
        ("large", "big", "huge", "sizeable"),
    ),
    "background": (
        ("dark", "dim", "murky", "shadowy"),
        ("grey", "gray", "ashen"),
        ("beige", "sandy", "tan"),
        ("light", "bright", "pale"),
    ),
    "relation": (
        ("left", "leftward"),
        ("right", "rightward"),
        ("above", "over", "atop"),
        ("below", "under", "beneath", "underneath"),
    ),
    # Words without a value of their own: they carry the sentence, not the scene.
    "ground": (("background", "backdrop", "backcloth"),),
    "picture": (("picture", "image", "drawing"),),
    "show": (("shows", "displays", "depicts"),),
}
"""Kind of concept -> value -> its words, the common one first."""


class Meaning(NamedTuple):
    """The one concept that a word stands for: `VOCABULARY[kind][value]`."""

    kind: str
    value: int


MEANINGS: Mapping[str, Meaning] = {
    word: Meaning(kind, value)
    for kind, concepts in VOCABULARY.items()
    for value, words in enumerate(concepts)
    for word in words
}

OPPOSITES: Mapping[str, str] = {
    "small": "large",
    "large": "small",
    "left": "right",
    "right": "left",
    "above": "below",
    "below": "above",
    "dark": "light",
    "light": "dark",
}
"""Concept -> its opposite, as common words; no other concept has one."""
