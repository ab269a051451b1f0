"""Captions in the form that retrieval models are trained and attacked on."""

from __future__ import annotations

import re
import unicodedata

MAX_WORDS = 30
"""Longer captions are cut, as ALBEF, TCL and the attacks built on them do."""


def normalise_caption(text: str) -> str:
    """Lower case, no punctuation, single spaces, at most `MAX_WORDS` words.

    The pre-processing of ALBEF (Li et al., "Align before fuse", 2021, arXiv 2107.07651).

    Deviations:
        punctuation: ALBEF removes a fixed list (, . ' ! ? " ( ) * # : ; ~); every other sign
            (& = [ ] and typographic quotes) stays a token of its own. Here each character that
            Unicode counts as punctuation or symbol goes, so that a word is always a word of the
            lexicon's alphabet.
        dashes: any dash and the backslash become a space, not only `-` and `/`.

    Args:
        text: a caption as published.

    Returns:
        The caption; empty if it holds no letter or digit.
    """
    spaced = re.sub(r"[-/\\\u2010-\u2015]", " ", text.lower())
    kept = "".join(c for c in spaced if unicodedata.category(c)[0] not in "PSC" or c.isspace())
    return " ".join(kept.split()[:MAX_WORDS])
