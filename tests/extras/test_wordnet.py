"""WordNet through the real library `wn`, on lexicons of a few words that the tests write."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import wn

from mmrobust.augment.base import Source, Sources
from mmrobust.augment.chunks import build_augmenter
from mmrobust.augment.wordnet import wordnet_synonyms
from mmrobust.data.prepared import Lexicon, Split
from mmrobust.errors import UserError

DOCTYPE = (
    '<!DOCTYPE LexicalResource SYSTEM "http://globalwordnet.github.io/schemas/WN-LMF-1.0.dtd">'
)
Install = Callable[..., None]


def lmf(name: str, language: str, synsets: Mapping[str, tuple[str, ...]]) -> str:
    """A lexicon in the format WN-LMF: each synset, named by its part of speech, has its lemmas."""
    entries, meanings = [], []
    for number, (part, lemmas) in enumerate(synsets.items()):
        pos, synset = part[0], f"{name}-{number}-{part[0]}"
        meanings.append(f'<Synset id="{synset}" ili="" partOfSpeech="{pos}"/>')
        for place, lemma in enumerate(lemmas):
            own = f"{name}-{number}-{place}"
            entries.append(
                f'<LexicalEntry id="{own}-e"><Lemma writtenForm="{lemma}" partOfSpeech="{pos}"/>'
                f'<Sense id="{own}-s" synset="{synset}"/></LexicalEntry>'
            )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{DOCTYPE}\n<LexicalResource '
        'xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f'<Lexicon id="{name}" label="{name}" language="{language}" email="a@b.c" '
        'license="https://example.org/licence" version="1">'
        f"{''.join(entries)}{''.join(meanings)}</Lexicon></LexicalResource>"
    )


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Add a lexicon to a database of its own."""
    before = wn.config.database_path.parent  # asking for the folder would make it
    wn.config.data_directory = tmp_path / "wn"

    def add(name: str, language: str = "en", **synsets: tuple[str, ...]) -> None:
        path = tmp_path / f"{name}.xml"
        path.write_text(lmf(name, language, synsets), encoding="utf-8")
        wn.add(path, progress_handler=None)

    yield add
    wn.config.data_directory = before


@pytest.fixture
def english(install: Install) -> None:
    install(
        "one",
        n1=("dog", "domestic dog", "hound"),
        n2=("frank", "dog", "hot-dog", "Wiener"),
        v1=("chase", "dog", "go after"),
        v2=("run", "race"),
        n3=("grass",),
    )


@pytest.mark.usefixtures("english")
def test_synonyms_are_the_single_words_of_all_synsets() -> None:
    synonyms = wordnet_synonyms()
    assert synonyms("dog") == ("chase", "frank", "hound", "wiener")
    assert synonyms("grass") == ()
    assert synonyms("unheard") == ()


@pytest.mark.usefixtures("english")
def test_inflected_words_have_the_synonyms_of_their_base_forms() -> None:
    synonyms = wordnet_synonyms()
    assert synonyms("dogs") == ("chase", "dog", "frank", "hound", "wiener")
    assert synonyms("chased") == ("chase", "dog")
    assert synonyms("runs") == ("race", "run")


@pytest.mark.usefixtures("english")
def test_every_english_lexicon_counts_and_no_other(install: Install) -> None:
    install("two", language="en-GB", n1=("dog", "mutt"))
    install("three", language="de", n1=("dog", "hund"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert wordnet_synonyms()("dog") == ("chase", "frank", "hound", "mutt", "wiener")


@pytest.mark.usefixtures("english")
def test_captions_are_changed_by_its_synonyms_but_for_stop_words() -> None:
    words = ["the", "dogs", "run", "on", "grass"]
    rows = np.zeros(200, dtype=np.int64)
    split = Split(
        images=np.zeros((1, 1, 1, 3), np.uint8),
        captions=[" ".join(words)],
        caption_image=np.zeros(1, np.int64),
        positives=sp.csr_array(np.ones((1, 1), dtype=bool)),
    )
    lexicon = Lexicon(
        synonyms={"grass": ("lawn",)}, alternatives={}, antonyms={}, stop_words=frozenset({"run"})
    )
    source = Source(split=split, lexicon=lexicon, dataset={}, data_seed=0, device="cpu")
    eda = build_augmenter({"method": "eda", "synonyms": "wordnet", "operations": ["replace"]})
    made = eda.open(source)(Sources(rows, rows, 0), np.random.default_rng(0)).values
    others = ["chase", "dog", "frank", "hound", "wiener"]
    assert sorted(set(made)) == [f"the {other} run on grass" for other in others]


@pytest.mark.parametrize("other", [False, True])
def test_no_english_lexicon_says_what_to_install(install: Install, other: bool) -> None:
    if other:
        install("three", language="de", n1=("dog", "hund"))
    with pytest.raises(UserError, match=r"'wordnet' finds no English lexicon in .*wn\.db") as error:
        wordnet_synonyms()
    assert "python -m wn download oewn:2024" in str(error.value)
