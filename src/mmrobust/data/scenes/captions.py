"""Captions of scenes: what to say is drawn in batches, then put into words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mmrobust.data.scenes.grammar import Mention, Proposition, Propositions
from mmrobust.data.scenes.scene import LEFT, MAX_OBJECTS, RIGHT, SceneArrays, relations
from mmrobust.data.scenes.vocabulary import VOCABULARY
from mmrobust.errors import UserError

_MAX_REDRAWS = 200
_LEADS = ((), ("there", "is"), ("we", "see"), ("a", "picture", "of"), ("this", "picture", "show"))
_LEAD_SHARES = (0.5, 0.2, 0.1, 0.1, 0.1)
_PLACES = ("end", "end", "start", "subject")
_FRONTED_SHARE = 0.2
_CONCEPTS_PER_CAPTION = 15


def draw_propositions(
    scenes: SceneArrays, rng: np.random.Generator, *, detail: float
) -> Propositions:
    """Draw something true to say of each scene.

    Args:
        scenes: C scenes.
        rng: source of all choices.
        detail: in 0..1; the probability that a size, a relation of neighbours in the sentence or
            the background is said. Objects beyond the first are mentioned more readily, each
            with probability `1 - (1 - detail)**3`.

    Returns:
        C propositions, the mentions in random order.
    """
    n = len(scenes)
    present = scenes.shape >= 0
    order = np.where(present, rng.random((n, MAX_OBJECTS)), 2.0).argsort(axis=1)
    more = rng.random((n, MAX_OBJECTS - 1)) < 1 - (1 - detail) ** 3
    n_mentions = 1 + (more & present[:, 1:]).sum(axis=1)
    said = np.arange(MAX_OBJECTS) < n_mentions[:, None]
    each = np.arange(n)[:, None]
    link = relations(scenes)[each, order[:, :-1], order[:, 1:]]
    say_link = said[:, 1:] & (rng.random((n, MAX_OBJECTS - 1)) < detail)
    say_size = said & (rng.random((n, MAX_OBJECTS)) < detail)
    return Propositions(
        valid=np.ones(n, dtype=bool),
        colour=np.where(said, scenes.colour[each, order], -1),
        shape=np.where(said, scenes.shape[each, order], -1),
        size=np.where(say_size, scenes.size[each, order], -1),
        link=np.where(say_link, link, -1),
        background=np.where(rng.random(n) < detail, scenes.background, -1),
    )


def speak(
    propositions: Propositions, rng: np.random.Generator, *, rare_word_rate: float
) -> list[str]:
    """Put propositions into words.

    Args:
        propositions: C propositions.
        rng: source of all choices.
        rare_word_rate: in 0..1; probability that a concept is spoken with a rare word.

    Returns:
        C captions, lower case, words parted by single spaces, no punctuation. With the same
        generator state a higher rate changes only words, never the build of the sentences.
    """
    n = len(propositions)
    lead = rng.choice(len(_LEADS), size=n, p=_LEAD_SHARES)
    place = rng.integers(len(_PLACES), size=n)
    build = rng.random((n, MAX_OBJECTS))
    rare, rank = rng.random((2, n, _CONCEPTS_PER_CAPTION))
    rank = np.where(rare < rare_word_rate, rank, -1.0)
    dice = zip(lead.tolist(), place.tolist(), build.tolist(), rank.tolist(), strict=True)
    return [
        " ".join(_sentence(proposition, _LEADS[lead], _PLACES[place], build, iter(ranks)))
        for proposition, (lead, place, build, ranks) in zip(propositions, dice, strict=True)
    ]


def draw_captions(
    scenes: SceneArrays,
    rng: np.random.Generator,
    *,
    per_scene: int,
    detail: float,
    rare_word_rate: float,
) -> list[str]:
    """Draw `per_scene` different true captions of each of N scenes.

    Args:
        scenes: N scenes.
        rng: source of all choices.
        per_scene: captions of a scene, at least 1.
        detail: see `draw_propositions`.
        rare_word_rate: see `speak`.

    Returns:
        N * per_scene captions, scene by scene.

    Raises:
        UserError: `detail` and `rare_word_rate` leave too few sentences to choose from.
    """
    rows = np.repeat(np.arange(len(scenes)), per_scene)
    captions = [""] * len(rows)
    todo = np.arange(len(rows))
    for _ in range(_MAX_REDRAWS):
        said = draw_propositions(scenes.take(rows[todo]), rng, detail=detail)
        spoken = speak(said, rng, rare_word_rate=rare_word_rate)
        for row, caption in zip(todo.tolist(), spoken, strict=True):
            captions[row] = caption
        todo = np.array(_repeats(captions, per_scene), dtype=np.int64)
        if len(todo) == 0:
            return captions
    raise UserError(
        f"captions_per_scene: found no {per_scene} different captions of a scene; lower it, or "
        f"raise detail ({detail}) or rare_word_rate ({rare_word_rate})"
    )


def _repeats(captions: list[str], per_scene: int) -> list[int]:
    """Positions of captions that were said before in the same block of `per_scene`."""
    repeats = []
    for start in range(0, len(captions), per_scene):
        block = captions[start : start + per_scene]
        if len(set(block)) < per_scene:
            repeats += [start + i for i, text in enumerate(block) if text in block[:i]]
    return repeats


def _sentence(
    said: Proposition, lead: tuple[str, ...], place: str, build: list[float], ranks: Iterator[float]
) -> list[str]:
    """Words of one caption; `build` (3,) in 0..1 picks among the builds of a sentence."""
    ground = _ground(said.background, ranks)
    subject = bool(ground) and place == "subject"
    fronted = not subject and said.links[:1] > (-1,) and build[0] < _FRONTED_SHARE
    phrases = [_noun_phrase(mention, ranks) for mention in said.mentions]
    opening = _opening(lead, ranks)
    if fronted:  # "above A there is B": the converse of what A is to B
        middle = opening if lead == ("we", "see") else ["there", "is"]
        words = [*_relation(said.links[0] ^ 1, build[1], ranks), *phrases[0], *middle]
    else:
        words = [*opening, *ground, "with"] if subject else opening
        words = [*words, *phrases[0]]
    for i, link in enumerate(said.links):
        if i > 0 or not fronted:
            is_clause = not (opening or subject or i > 0)
            words += _joint(
                link, build[i + 1], ranks, verb=["is"] if is_clause else ["which", "is"]
            )
        words += phrases[i + 1]
    if subject or not ground:
        return words
    framed = ["on" if build[2] < 0.8 else "against", *ground]
    return framed + words if place == "start" else words + framed


def _word(kind: str, value: int, ranks: Iterator[float]) -> str:
    """A word for a concept: the common one, or by a rank in 0..1 one of the rare ones."""
    common, *rare = VOCABULARY[kind][value]
    rank = next(ranks)
    return common if rank < 0 else rare[int(rank * len(rare))]


def _opening(lead: tuple[str, ...], ranks: Iterator[float]) -> list[str]:
    """The words of a lead, in which the names of concepts stand for one of their words."""
    words = [_word(word, 0, ranks) if word in VOCABULARY else word for word in lead]
    return _with_article(words[1:]) if lead[:1] == ("a",) else words


def _with_article(words: list[str]) -> list[str]:
    return ["an" if words[0][0] in "aeiou" else "a", *words]


def _ground(background: int, ranks: Iterator[float]) -> list[str]:
    if background < 0:
        return []
    return _with_article([_word("background", background, ranks), _word("ground", 0, ranks)])


def _noun_phrase(mention: Mention, ranks: Iterator[float]) -> list[str]:
    size = [_word("size", mention.size, ranks)] if mention.size >= 0 else []
    colour, shape = _word("colour", mention.colour, ranks), _word("shape", mention.shape, ranks)
    return _with_article([*size, colour, shape])


def _joint(link: int, build: float, ranks: Iterator[float], *, verb: list[str]) -> list[str]:
    """What stands between two noun phrases; `build` in 0..1 picks the form."""
    if link < 0:
        return ["and" if build < 0.7 else "with"]
    return [*(verb if build < 0.4 else []), *_relation(link, build, ranks)]


def _relation(value: int, build: float, ranks: Iterator[float]) -> list[str]:
    word = _word("relation", value, ranks)
    if value not in (LEFT, RIGHT):
        return [word]
    long = word in ("left", "right") and build * 10 % 1 < 0.6
    return ["to", "the", word, "of"] if long else [word, "of"]
