"""What each attack of a study was allowed to do, and whether its captions stayed true."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from mmrobust.figures.notes import DOT, of_255
from mmrobust.figures.style import label

KNOWLEDGE = {"white_box": "white box", "transfer": "transfer from", "query": "scores only"}


@dataclass(frozen=True, kw_only=True)
class AttackFacts:
    """An attack as its rows of the table describe it, the same for every model.

    Fields:
        worst_case: of an ensemble, the direction of the queries that it is about, i2t or t2i, or
            both; empty for what is no worst case over several attacks.
        knowledge: white_box, transfer or query; empty for clean.
        source: what it was crafted on, for transfer.
        norm: of the image budget; empty for none.
        eps: of the image budget; None for none.
        words: of the text budget; None for none.
        characters: of the text budget; None for as many as the words allow.
        keeps_truth: whether its captions must stay true.
        images: images of the split.
        attacked_images: how many of them it attacked.
        truth: least and largest share of true captions over the models; None where nobody decided.
    """

    worst_case: str
    knowledge: str
    source: str
    norm: str
    eps: float | None
    words: int | None
    characters: int | None
    keeps_truth: bool
    images: int
    attacked_images: int
    truth: tuple[float, float] | None

    @property
    def ensemble(self) -> bool:
        """Whether it is the worst case over several attacks."""
        return bool(self.worst_case)

    def worst_case_words(self) -> str:
        """What it is the worst case of; empty for no ensemble."""
        if not self.worst_case:
            return ""
        whose = "" if self.worst_case == "both" else f"{self.worst_case} "
        return f"worst case per {whose}query"

    @property
    def joint(self) -> bool:
        """Whether it may change both modalities."""
        return self.eps is not None and self.words is not None

    @property
    def may_lie(self) -> bool:
        """Whether its budget lets captions become false."""
        return bool(self.words) and not self.keeps_truth

    @property
    def partial(self) -> bool:
        """Whether it attacked a part of the images only."""
        return self.attacked_images < self.images

    def in_brief(self) -> str:
        """Knowledge and budgets on one line, such as `white box · 2/255 · 2 words`."""
        parts = [KNOWLEDGE.get(self.knowledge, self.knowledge)]
        if self.source:
            # a folder is told by its last name
            parts = [f"{parts[0]} {label(self.source.rstrip('/').rpartition('/')[2])}"]
        parts += [self.image_words(), self.text_words()]
        return DOT.join(part for part in parts if part)

    def in_brief_on_how_much(self) -> str:
        """The same, with the attacked images where those aren't all, and an ensemble's queries."""
        images = f"{self.attacked_images:,} images" if self.partial else ""
        queries = f"{self.worst_case} queries" if self.worst_case not in ("", "both") else ""
        return DOT.join(part for part in (self.in_brief(), images, queries) if part)

    def image_words(self) -> str:
        """The image budget; empty for none."""
        if self.eps is None:
            return ""
        return of_255(self.eps) if self.norm == "linf" else f"l2 {self.eps:g}"

    def text_words(self) -> str:
        """The text budget; empty for none."""
        if self.words is None:
            return ""
        words = f"{self.words} word{'' if self.words == 1 else 's'}"
        if self.characters is None:
            return words
        return f"{words}, {self.characters} character{'' if self.characters == 1 else 's'}"

    def truth_words(self) -> str:
        """Share of the attacked captions that are still true, over the models; empty if unknown."""
        if self.truth is None:
            return ""
        return "-".join(dict.fromkeys(f"{100 * share:.0f}" for share in self.truth)) + " %"


def attack_facts(metrics: pd.DataFrame) -> dict[str, AttackFacts]:
    """Facts of every attack that the table has rows of, by name; points of curves among them.

    A transferred attack is a white box on the model that it was crafted on: it is told as what it
    is on the others.
    """
    shares = metrics[metrics["metric"] == "caption_truth"].dropna(subset=["value"])
    by_attack = shares.groupby("attack")["value"]
    truth = {str(name): (float(of.min()), float(of.max())) for name, of in by_attack}
    transferred = metrics[metrics["knowledge"] == "transfer"]
    rows = pd.concat([transferred, metrics]).drop_duplicates("attack").to_dict("records")
    return {
        row["attack"]: AttackFacts(
            worst_case=row["worst_case"],
            knowledge=row["knowledge"],
            source=row["source"],
            norm=row["image_norm"],
            eps=None if pd.isna(row["image_eps"]) else float(row["image_eps"]),
            words=None if pd.isna(row["text_words"]) else int(row["text_words"]),
            characters=None if pd.isna(row["text_characters"]) else int(row["text_characters"]),
            keeps_truth=row["keeps_truth"] == "True",
            images=int(row["images"]),
            attacked_images=int(row["attacked_images"]),
            truth=truth.get(row["attack"]),
        )
        for row in rows
    }
