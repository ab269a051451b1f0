"""Random edits of whole captions, spaces included, as LEAF attacks them while it trains."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

import torch
from torch import Tensor

DELETE = ""
ALPHABET = (DELETE, *string.ascii_lowercase, " ", *string.digits, *string.punctuation)
"""What an edit may put in; CLIP's tokenizers know no capitals."""


def levenshtein_search(
    captions: Sequence[str],
    value: Callable[[list[str], Tensor], Tensor],
    *,
    distance: int,
    rho: int,
    known: AbstractSet[str] | None,
    generator: torch.Generator,
) -> list[str]:
    """Captions up to `distance` edits away that raise a value.

    LEAF (Abad Rocamora et al. 2025, arXiv:2506.03355, section 4): of `rho` random places the one
    at which a space raises the value most, then of `rho` random characters at that place the
    best; as often as edits are allowed. All captions take each step together.

    Args:
        captions: C captions.
        value: texts (R,) and the caption (R,) that each belongs to -> what is maximised (R,).
        distance: Levenshtein distance of a caption from its original.
        rho: places and characters that are tried.
        known: words of the language: an edit must leave fewer of them in the caption, so that
            none becomes another word. None to allow any edit.
        generator: of places and characters.

    Deviations:
        Keeping a caption always stands among the choices; released, it does so only where an
        edit is not allowed. Capitals are not put in.
    """
    found = list(captions)
    for _ in range(distance):
        places = [_draw(2 * len(text) + 1, rho, generator) for text in found]
        spaced = [
            [(edited(text, place, " "), place) for place in drawn]
            for text, drawn in zip(found, places, strict=True)
        ]
        at = [place for _, place in _best(found, spaced, value, known, keep=False)]
        letters = [
            [
                (edited(text, place, ALPHABET[n]), place)
                for n in _draw(len(ALPHABET), rho, generator)
            ]
            for text, place in zip(found, at, strict=True)
        ]
        found = [text for text, _ in _best(found, letters, value, known, keep=True)]
    return found


def edited(text: str, place: int, character: str) -> str:
    """A caption with one edit at a place, counted in gaps and characters from the first gap.

    In a gap (even places) a character is put in; a character (odd places) is replaced, or taken
    out where it stands there already.
    """
    at = place // 2
    if place % 2 == 0:
        return text[:at] + character + text[at:]
    return text[:at] + (DELETE if text[at] == character else character) + text[at + 1 :]


def _best(
    texts: Sequence[str],
    choices: Sequence[Sequence[tuple[str, int]]],
    value: Callable[[list[str], Tensor], Tensor],
    known: AbstractSet[str] | None,
    *,
    keep: bool,
) -> list[tuple[str, int]]:
    """For each text the choice of the highest value; with `keep` the text itself is one.

    A choice that is not allowed counts as the text itself.
    """
    rows = [
        (text if known is not None and not _loses_a_word(text, choice, known) else choice, place)
        for text, offered in zip(texts, choices, strict=True)
        for choice, place in [*([(text, 0)] if keep else []), *offered]
    ]
    sizes = [len(offered) + keep for offered in choices]
    owner = torch.repeat_interleave(torch.arange(len(texts)), torch.tensor(sizes))
    values = value([text for text, _ in rows], owner)
    best, start = [], 0
    for own in torch.split(values, sizes):
        best.append(rows[start + int(own.argmax())])
        start += len(own)
    return best


def _loses_a_word(text: str, changed: str, known: AbstractSet[str]) -> bool:
    return len(known & set(changed.split())) < len(known & set(text.split()))


def _draw(high: int, count: int, generator: torch.Generator) -> list[int]:
    """`count` numbers below `high`, distinct where there are as many."""
    if count <= high:
        drawn = torch.randperm(high, generator=generator)[:count]
    else:
        drawn = torch.randint(high, (count,), generator=generator)
    numbers: list[int] = drawn.tolist()
    return numbers
