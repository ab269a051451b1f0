"""Substitutes for the words of natural captions, from a file of synonym pairs.

The pairs are those of counter-fitting (Mrksic et al. 2016, arXiv 1603.00892), taken there from
the paraphrase database PPDB. They hold inflections ("dog dogs") and spellings beside synonyms,
and are blind to context: a substitute keeps the meaning by and large, not always. Results on
photographs say so; the embedded world `scenes` is where validity is exact.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from mmrobust.errors import UserError

_FUNCTION_WORDS = """
    a an the this that these those some any each every either neither another other others such
    i me my mine we us our ours you your yours he him his she her hers it its they them their
    theirs who whom whose which what one ones someone something
    and or nor but so yet if while whilst although though because since as than then
    in on at by to of for from with without within into onto out off over under above below up down
    through throughout across along around about against among between behind before after beside
    besides beyond near next toward towards until upon via during inside outside there here where
    when how why not no
    is are was were be been being am do does did doing done have has had having can could may might
    must shall should will would
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
"""Words that are never replaced: that would change grammar, not content."""

# Pairs of the file that insult; a lexicon that is shown in reports can do without them.
_INSULTS = frozenset({"negro", "negroes", "negros", "colored", "coloured"})


class PpdbSynonyms:
    """The raw file of synonym pairs, to `mmrobust import-data lexicon FROM`."""

    raw_files: ClassVar[tuple[str, ...]] = ("ppdb_synonyms.txt",)
    licence: ClassVar[str] = "Apache-2.0 (counter-fitting); derived from PPDB, CC BY 3.0 US"


def build_lexicon(
    pairs: Path,
    captions: Iterable[str],
    training_captions: Iterable[str],
    *,
    max_substitutes: int,
) -> dict[str, list[str]]:
    """Substitutes for the words of `captions`.

    Every caption word that the file knows is a key, test captions included: a lexicon is the
    attacker's knowledge of the language and learns nothing. Only the order, in which the more
    frequent word comes first and ties stand alphabetically, is counted on training captions.

    Args:
        pairs: text file of two words a line; each is a substitute for the other. Pairs with
            anything but letters in them are left out.
        captions: all normalised captions.
        training_captions: those of the training split.
        max_substitutes: substitutes kept for a word.

    Returns:
        Lower-case word -> 1 to `max_substitutes` substitutes, keys sorted, no stop words.

    Raises:
        UserError: the file is missing, or a line is not two words of UTF-8.
    """
    neighbours = _read_pairs(pairs)
    frequency = Counter(word for caption in training_captions for word in caption.split())
    words = {word for caption in captions for word in caption.split()}
    return {
        word: sorted(neighbours[word], key=lambda other: (-frequency[other], other))[
            :max_substitutes
        ]
        for word in sorted(words & neighbours.keys())
    }


def _read_pairs(path: Path) -> dict[str, set[str]]:
    """Word -> its substitutes, in both directions."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        raise UserError(
            f"{path}: file of synonym pairs is missing; "
            "import it by `mmrobust import-data lexicon FROM`"
        ) from None
    neighbours: dict[str, set[str]] = defaultdict(set)
    for number, line in enumerate(lines, start=1):
        try:
            words = line.decode("utf-8").lower().split()
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: line {number} is not UTF-8 ({error})") from None
        if words and len(words) != 2:
            raise UserError(f"{path}: line {number} holds {len(words)} words, allowed: 2")
        if not words or words[0] == words[1] or not all(map(_is_content_word, words)):
            continue
        neighbours[words[0]].add(words[1])
        neighbours[words[1]].add(words[0])
    return dict(neighbours)


def _is_content_word(word: str) -> bool:
    return word.isalpha() and word not in STOP_WORDS and word not in _INSULTS
