"""Word substitution: which words of a caption to replace, and by what.

All substitutions of all captions are scored in one batch of distinct rows, sorted by length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from mmrobust.models.base import DualEncoder
from mmrobust.models.encoding import embed_captions
from mmrobust.threat import TextBudget

Substitutes = Callable[[str], Sequence[str]]
"""A word to the words that may stand in its place; the world's lexicon reaches an attack so."""


def words_changed(original: str, perturbed: str) -> int:
    """Number of word positions that differ.

    Raises:
        ValueError: words were added or removed, which no budget of ours allows.
    """
    before, after = original.split(" "), perturbed.split(" ")
    if len(before) != len(after):
        raise ValueError(f"{original!r} and {perturbed!r} differ in their number of words")
    return sum(a != b for a, b in zip(before, after, strict=True))


@dataclass(frozen=True, kw_only=True)
class GreedyWordSubstitution:
    """Replace the word, of all words, whose best substitute hurts most; repeat to the budget.

    Keeping the caption as it is always stands among the choices, so the objective never falls.

    Deviations:
        BERT-Attack and its ports rank words once by how much hiding each one matters, then try
        the substitutes of one word after the other and stop at the first budgeted change. Here
        every (word, substitute) pair is scored in each round: never weaker for one word, and
        one batch instead of a walk.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __call__(
        self,
        model: DualEncoder,
        captions: Sequence[str],
        guide: Tensor,
        *,
        budget: TextBudget,
        substitutes: Substitutes,
    ) -> tuple[list[str], Tensor]:
        """Captions that are least similar to their guides, and their embeddings (C, D).

        Args:
            model: the dual encoder that is attacked.
            captions: C captions, words separated by single spaces.
            guide: (C, D) unit-norm embedding that each caption is driven away from.
            budget: how many words may change.
            substitutes: what may stand in place of a word.
        """
        current = list(captions)
        embeddings = embed_captions(model, current)
        for _ in range(budget.words):
            rows, owner = _single_substitutions(captions, current, substitutes)
            if not rows:
                break
            candidates = embed_captions(model, rows)
            owners = torch.tensor(owner, device=guide.device)
            value = -(candidates * guide[owners]).sum(dim=1)
            best, best_row = _best_per_owner(value, owners, len(current))
            improved = best > -(embeddings * guide).sum(dim=1)
            if not improved.any():
                break
            for caption in improved.nonzero().flatten().tolist():
                current[caption] = rows[best_row[caption]]
            embeddings[improved] = candidates[best_row[improved]]
        return current, embeddings


def _single_substitutions(
    original: Sequence[str], current: Sequence[str], substitutes: Substitutes
) -> tuple[list[str], list[int]]:
    """Every caption with one more of its words replaced, and the caption each row belongs to."""
    rows: list[str] = []
    owner: list[int] = []
    for number, (before, now) in enumerate(zip(original, current, strict=True)):
        words = now.split(" ")
        for position, word in enumerate(before.split(" ")):
            if words[position] != word:
                continue  # already replaced: one change a position
            head, tail = words[:position], words[position + 1 :]
            for substitute in substitutes(word):
                rows.append(" ".join([*head, substitute, *tail]))
                owner.append(number)
    return rows, owner


def _best_per_owner(value: Tensor, owner: Tensor, owners: int) -> tuple[Tensor, Tensor]:
    """Highest value (C,) among each owner's rows and the first row that has it (C,).

    An owner without rows gets minus infinity and row 0.
    """
    best = torch.full((owners,), -torch.inf, device=value.device)
    best = best.scatter_reduce(0, owner, value, "amax")
    rows = torch.arange(len(value), device=value.device)
    rows = torch.where(value == best[owner], rows, len(value))
    first = torch.full((owners,), len(value), device=value.device)
    first = first.scatter_reduce(0, owner, rows, "amin")
    return best, torch.where(first < len(value), first, 0)
