"""Synonyms from WordNet, through the library `wn` and the lexicons in its database."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from mmrobust.errors import UserError

_WHERE = "augmentations: eda: synonyms: 'wordnet'"


def wordnet_synonyms() -> Callable[[str], tuple[str, ...]]:
    """Look words up in every English lexicon that is installed.

    A word's synonyms are the lemmas of all its synsets, as in the released code of EDA (Wei and
    Zou 2019, arXiv:1901.11196), inflected words by their base forms too: "dogs" has "dog" among
    its own. Deviations: only lemmas of one word, and of letters alone, since captions hold no
    hyphens; the released code takes a lemma of several words for one.

    Returns:
        A function from a word in lower case to its synonyms, in alphabetical order; none for a
        word that WordNet doesn't have.

    Raises:
        UserError: there is no such library, or no English lexicon.
    """
    try:
        import wn
        from wn.morphy import morphy
    except ImportError:
        raise UserError(
            f"{_WHERE} needs the library wn; the extra `wordnet` installs it: "
            "pip install -e '.[wordnet]'; and a lexicon: python -m wn download oewn:2024"
        ) from None
    english = [one for one in wn.lexicons() if one.language.partition("-")[0] == "en"]
    if not english:
        raise UserError(
            f"{_WHERE} finds no English lexicon in {wn.config.database_path}; install one: "
            "python -m wn download oewn:2024"
        )
    names = " ".join(one.specifier() for one in english)
    # Relations aren't followed, so there is nothing to expand; wn warns of lexicons that it lacks.
    wordnet = wn.Wordnet(names, expand="", lemmatizer=morphy)

    @cache
    def synonyms(word: str) -> tuple[str, ...]:
        lemmas = {lemma.lower() for synset in wordnet.synsets(word) for lemma in synset.lemmas()}
        return tuple(sorted(lemma for lemma in lemmas - {word} if lemma.isalpha()))

    return synonyms
