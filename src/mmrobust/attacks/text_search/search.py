"""The search of a text attack: which words of a caption to replace, and by what.

Works on all captions at once: every changed caption of a round is encoded in one batch of distinct
rows, sorted by length. Keeping a caption as it is always stands among the choices, so what is
maximised never falls. A change that the model doesn't read is never made: it would be taken for
the rounding of a value, and spend the budget on nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict
from torch import Tensor

from mmrobust.attacks.text_search.base import (
    Choices,
    Language,
    Sentence,
    Value,
    characters_changed,
)
from mmrobust.attacks.text_search.candidates import Candidates, LexiconCandidates
from mmrobust.attacks.text_search.constraints import (
    Constraint,
    StaysTrue,
    admissible,
    kept,
)
from mmrobust.attacks.text_search.importance import Importance
from mmrobust.attacks.text_search.memory import TextMemory
from mmrobust.errors import UserError
from mmrobust.quantities import PositiveInt
from mmrobust.threat import TextBudget

CAPTIONS_AT_ONCE = 256
"""Captions searched together: enough for full batches, few enough that memory stays flat."""

ROWS_AT_ONCE = 4_096
"""Rows of an exhaustive search that are scored together."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A caption on its way, with its value, its embedding (D,) and what the model reads of it."""

    sentence: Sentence
    value: float
    embedding: Tensor
    reading: bytes


@dataclass(frozen=True, kw_only=True)
class TextSearch:
    """Candidates x constraints x importance x method.

    With an importance, words are visited once, the most important first, and each is replaced by
    its best candidate if that is better than keeping it, until the budget is spent (BERT-Attack,
    Li et al. 2020, arXiv:2004.09984, section 3). Without one, each round tries every candidate of
    every word, which is never weaker for one word.

    Fields:
        candidates: what may stand in place of a word.
        constraints: what a change must satisfy beside the budget.
        importance: how words are ordered; None to try them all.
        method: greedy (the best after each word or round), beam (the `beam_width` best) or
            exhaustive (all combinations within the budget, which needs importance None).
        beam_width: captions kept by beam search; no other method reads it.
        max_combinations: an exhaustive search of a caption that has more is refused; no other
            method reads it.

    Each step must satisfy budget and constraints: a change of two words whose halves are not
    allowed by themselves (as under `keeps_truth`) is found by an exhaustive search alone.

    Deviations:
        Released ports of BERT-Attack search one caption at a time; here all captions take each
        step together, with the same outcome. They also count a replacement by several words as
        one change; here a word is replaced by one word.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    candidates: Candidates = LexiconCandidates()
    constraints: tuple[Constraint, ...] = ()
    importance: Importance | None = None
    method: Literal["greedy", "beam", "exhaustive"] = "greedy"
    beam_width: PositiveInt = 4
    max_combinations: PositiveInt = 100_000

    def __post_init__(self) -> None:
        if self.method == "exhaustive" and self.importance is not None:
            raise UserError("text search: an exhaustive search takes no `importance`")

    def __call__(
        self,
        memory: TextMemory,
        captions: Sequence[str],
        value: Value,
        *,
        budget: TextBudget,
        images: Sequence[int],
        language: Language,
    ) -> tuple[list[str], Tensor]:
        """Captions within the budget that raise the value, and their embeddings (C, D).

        Args:
            memory: embeds captions under the attacked model and keeps what comes up again.
            captions: C captions, words separated by single spaces.
            value: what is maximised, for each caption on its own.
            budget: how far a caption may move.
            images: number of the image of each caption, for whoever decides truth.
            language: what the attacker knows of the language.
        """
        found: list[Scored] = []
        for start in range(0, len(captions), CAPTIONS_AT_ONCE):
            rows = range(start, min(start + CAPTIONS_AT_ONCE, len(captions)))
            walk = _Walk(self, memory, captions, rows, value, budget, images, language)
            found += walk.run()
        return [best.sentence.text for best in found], torch.stack([b.embedding for b in found])

    @property
    def width(self) -> int:
        """Captions kept after each step."""
        return self.beam_width if self.method == "beam" else 1

    def choices(
        self, memory: TextMemory, captions: Sequence[str], language: Language
    ) -> list[Choices]:
        """Admissible candidates of every word of every caption."""
        return memory.facts(
            ("choices", self.candidates, self.constraints),
            captions,
            lambda new: admissible(
                self.candidates.propose(new, language), new, self.constraints, language
            ),
        )


class _Walk:
    """One search over a block of captions: for each the best found so far, best first."""

    def __init__(
        self,
        search: TextSearch,
        memory: TextMemory,
        captions: Sequence[str],
        rows: range,
        value: Value,
        budget: TextBudget,
        images: Sequence[int],
        language: Language,
    ) -> None:
        self.search, self.memory, self.language, self.budget = search, memory, language, budget
        self.rows, self.value = rows, value
        self.originals = [captions[row] for row in rows]
        self.images = [images[row] for row in rows]
        self.choices = search.choices(memory, self.originals, language)
        embeddings, readings = memory.read(self.originals)
        values = self._values(embeddings, list(range(len(rows)))).tolist()
        start = (Sentence(tuple(caption.split(" "))) for caption in self.originals)
        self.beams = [
            [Scored(*one)] for one in zip(start, values, embeddings, readings, strict=True)
        ]

    def run(self) -> list[Scored]:
        if self.search.method == "exhaustive":
            self._try_all()
        elif self.search.importance is None:
            self._go_round()
        else:
            self._visit()
        return [beam[0] for beam in self.beams]

    def _visit(self) -> None:
        """Visit each caption's words once, in the order of their importance."""
        orders = self._orders()
        for turn in range(max(map(len, orders), default=0)):
            self._extend(
                lambda at, sentence, turn=turn: (
                    [orders[at][turn]]  # type: ignore[misc]
                    if turn < len(orders[at])
                    else []
                )
            )

    def _go_round(self) -> None:
        """Try every word that is still the original, as often as words may change."""
        everywhere = [range(len(choices)) for choices in self.choices]
        for _ in range(self.budget.words):
            if not self._extend(lambda at, sentence: everywhere[at]):
                break

    def _try_all(self) -> None:
        """Try all combinations of changes within the budget, in bounded batches."""
        for at, beam in enumerate(self.beams):
            self._refuse_too_many(at)
            combinations = _combinations(beam[0].sentence, self.choices[at], self.budget.words)
            while batch := list(itertools.islice(combinations, ROWS_AT_ONCE)):
                self._keep_best([(at, sentence) for sentence in batch])

    def _orders(self) -> list[tuple[int, ...]]:
        importance = self.search.importance
        assert importance is not None
        embeddings = torch.stack([beam[0].embedding for beam in self.beams])
        if importance.uses_value:
            return importance.order(
                self.memory.model, self.originals, self.choices, embeddings, self._value_of
            )
        place = {caption: at for at, caption in enumerate(self.originals)}

        def find(new: Sequence[str]) -> list[tuple[int, ...]]:
            at = [place[caption] for caption in new]
            chosen = [self.choices[row] for row in at]
            return importance.order(self.memory.model, new, chosen, embeddings[at], self._value_of)

        name = ("order", importance, self.search.candidates, self.search.constraints)
        return self.memory.facts(name, self.originals, find)

    def _extend(self, positions: Callable[[int, Sentence], Sequence[int]]) -> bool:
        """Replace one more word of every caption kept; whether any caption got better."""
        rows = []
        for at, beam in enumerate(self.beams):
            for sentence in (scored.sentence for scored in beam):
                if len(sentence.changed) >= self.budget.words:
                    continue
                for position in positions(at, sentence):
                    if position not in sentence.changed:
                        rows += [
                            (at, sentence.replace(position, word))
                            for word in self.choices[at][position]
                        ]
        return self._keep_best(rows)

    def _keep_best(self, rows: list[tuple[int, Sentence]]) -> bool:
        """Score new captions and keep the best of each with those before; whether any entered."""
        rows = self._allowed(rows)
        if not rows:
            return False
        owners = [at for at, _ in rows]
        embeddings, readings = self.memory.read([sentence.text for _, sentence in rows])
        values = self._values(embeddings, owners).tolist()
        entered = False
        for at, group in itertools.groupby(range(len(rows)), key=lambda row: owners[row]):
            beam, width = self.beams[at], self.search.width
            floor = beam[-1].value if len(beam) == width else -torch.inf
            known = {scored.reading for scored in beam}
            better = [row for row in group if values[row] > floor and readings[row] not in known]
            distinct = {readings[row]: row for row in reversed(better)}
            new = [
                Scored(rows[row][1], values[row], embeddings[row].clone(), readings[row])
                for row in sorted(distinct.values(), key=lambda row: (-values[row], row))[:width]
            ]
            ordered = sorted([*beam, *new], key=lambda scored: -scored.value)  # stable: first wins
            self.beams[at] = ordered[:width]
            entered |= any(one is other for one in new for other in self.beams[at])
        return entered

    def _allowed(self, rows: list[tuple[int, Sentence]]) -> list[tuple[int, Sentence]]:
        """The rows that budget and constraints on whole captions allow."""
        limit = self.budget.characters
        if limit is not None:
            rows = [
                (at, sentence)
                for at, sentence in rows
                if characters_changed(self.originals[at], sentence.text) <= limit
            ]
        originals = [self.originals[at] for at, _ in rows]
        texts = [sentence.text for _, sentence in rows]
        images = [self.images[at] for at, _ in rows]
        constraints = [*self.search.constraints, *[StaysTrue()] * self.budget.keeps_truth]
        passed = kept(originals, texts, images, constraints, self.language)
        return [row for row, passes in zip(rows, passed, strict=True) if passes]

    def _refuse_too_many(self, at: int) -> None:
        counts = [len(words) for words in self.choices[at] if words]
        total = _n_combinations(counts, self.budget.words)
        if total > self.search.max_combinations:
            raise UserError(
                f"text search: {self.originals[at]!r} has {total} combinations of "
                f"{self.budget.words} substitutions (allowed: max_combinations = "
                f"{self.search.max_combinations}); lower the budget or use a beam"
            )

    def _values(self, embeddings: Tensor, owners: Sequence[int]) -> Tensor:
        return self._value_of(embeddings, torch.tensor(owners, device=embeddings.device))

    def _value_of(self, embeddings: Tensor, owners: Tensor) -> Tensor:
        """The value, with captions counted from the start of this block."""
        return self.value(embeddings, owners + self.rows.start)


def _combinations(sentence: Sentence, choices: Choices, words: int) -> Iterator[Sentence]:
    """All captions with 1 to `words` words replaced."""
    open_positions = [at for at, substitutes in enumerate(choices) if substitutes]
    for count in range(1, min(words, len(open_positions)) + 1):
        for positions in itertools.combinations(open_positions, count):
            for picked in itertools.product(*(choices[at] for at in positions)):
                changed = sentence
                for position, word in zip(positions, picked, strict=True):
                    changed = changed.replace(position, word)
                yield changed


def _n_combinations(counts: Sequence[int], words: int) -> int:
    """How many captions `_combinations` yields: elementary symmetric polynomials of the counts."""
    totals = [1] + [0] * words
    for count in counts:
        for size in range(words, 0, -1):
            totals[size] += count * totals[size - 1]
    return sum(totals[1:])
