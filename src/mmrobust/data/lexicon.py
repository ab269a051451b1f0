"""Synonyms and antonyms of the words of natural captions, from files of word pairs.

The pairs are those of counter-fitting (Mrksic et al. 2016, arXiv 1603.00892), taken there from
the paraphrase database PPDB and, more antonyms, from WordNet. Those of synonyms hold inflections
("dog dogs") and spellings too, and all are blind to context: a substitute keeps the meaning by
and large, not always. Results on photographs say so; the embedded world `scenes` is where
validity is exact.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import ClassVar

from mmrobust.data.prepared import Lexicon
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


class WordPairs:
    """The raw files of word pairs, two words a line, to `mmrobust import-data lexicon FROM`."""

    synonyms: ClassVar[tuple[str, ...]] = ("ppdb_synonyms.txt",)
    antonyms: ClassVar[tuple[str, ...]] = ("ppdb_antonyms.txt", "wordnet_antonyms.txt")
    raw_files: ClassVar[tuple[str, ...]] = (*synonyms, *antonyms)
    licence: ClassVar[str] = (
        "Apache-2.0 (counter-fitting); derived from PPDB, CC BY 3.0 US, and WordNet, "
        "WordNet licence"
    )


def build_lexicon(
    folder: Path,
    captions: Iterable[str],
    training_captions: Iterable[str],
    *,
    max_substitutes: int,
) -> Lexicon:
    """Lexicon of natural captions.

    Every caption word that the files know is a key, test captions included: a lexicon is the
    attacker's knowledge of the language and learns nothing. Only the order, in which the more
    frequent word comes first and ties stand alphabetically, is counted on training captions.

    Args:
        folder: of the files of `WordPairs`. A pair holds in both directions; pairs with anything
            but letters in them, or a stop word, are left out.
        captions: all normalised captions.
        training_captions: those of the training split.
        max_substitutes: synonyms kept for a word. Antonyms, which are asked what a substitute
            must not be, are all kept.

    Returns:
        Synonyms and antonyms of the captions' words; two words that are antonyms of each other
        are no synonyms. No alternatives: there is no grammar that tells which words fit.

    Raises:
        UserError: a file is missing, or a line is not two words of UTF-8.
    """
    synonyms = _read_pairs(folder, WordPairs.synonyms)
    antonyms = _read_pairs(folder, WordPairs.antonyms)
    frequency = Counter(word for caption in training_captions for word in caption.split())
    words = {word for caption in captions for word in caption.split()}

    def ranked(others: Set[str]) -> tuple[str, ...]:
        return tuple(sorted(others, key=lambda other: (-frequency[other], other)))

    kept = {word: synonyms[word] - antonyms.get(word, set()) for word in words & synonyms.keys()}
    return Lexicon(
        synonyms={
            word: ranked(others)[:max_substitutes] for word, others in kept.items() if others
        },
        alternatives={},
        antonyms={word: ranked(antonyms[word]) for word in words & antonyms.keys()},
        stop_words=STOP_WORDS,
    )


def _read_pairs(folder: Path, names: Iterable[str]) -> dict[str, set[str]]:
    """Word -> the words that some file pairs it with, in both directions."""
    neighbours: dict[str, set[str]] = defaultdict(set)
    for name in names:
        for one, other in _pairs(folder / name):
            neighbours[one].add(other)
            neighbours[other].add(one)
    return dict(neighbours)


def _pairs(path: Path) -> Iterator[list[str]]:
    """The pairs of two different content words of a file."""
    try:
        lines = path.read_bytes().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{path}: file of word pairs is missing; "
            "import it by `mmrobust import-data lexicon FROM`"
        ) from None
    for number, line in enumerate(lines, start=1):
        try:
            words = line.decode("utf-8").lower().split()
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: line {number} is not UTF-8 ({error})") from None
        if words and len(words) != 2:
            raise UserError(f"{path}: line {number} holds {len(words)} words, allowed: 2")
        if words and words[0] != words[1] and all(map(_is_content_word, words)):
            yield words


def _is_content_word(word: str) -> bool:
    return word.isalpha() and word not in STOP_WORDS and word not in _INSULTS
