"""Numbers and threat models in words that a reader understands without the code."""

from __future__ import annotations

import math
import re
from typing import Any

from mmrobust.evaluation.records import SHARES
from mmrobust.figures.notes import of_255
from mmrobust.figures.style import label
from mmrobust.threat import ThreatModel

NOTHING = "\N{EN DASH}"

KNOWLEDGE = {
    "white_box": "The attacker knows the model and its weights (white box).",
    "transfer": "The attacker knows {source}, on which the attack is crafted, and nothing of the "
    "model that it is used on (transfer).",
    "query": "The attacker sees the model's scores, not its weights or gradients (query).",
}
CHECKS = {
    "max_perturbation": "largest change of an image",
    "max_words_changed": "most words changed in a caption",
    "mean_words_changed": "words changed in a caption, on average",
    "max_characters_changed": "most characters changed in a caption",
    "zero_gradients": "gradients that are exactly zero",
    "image_passes": "passes of an image through the model, on average",
    "captions_true": "captions still true",
    "hard_negatives": "captions preferred to themselves with one word made wrong (chance: 50 %)",
    "rare_hard_negatives": "the same with a rare word, right or wrong (chance: 50 %)",
    "standing": "items still standing after each member",
}


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal: `0.4871` -> `48.7`."""
    return NOTHING if value is None or value != value else f"{100 * value:.1f}"


def decimal(value: float | None) -> str:
    """A statistic with four decimals, with a true minus sign; a bound may be infinite."""
    if value is None:
        return NOTHING
    text = "\N{INFINITY}" if math.isinf(value) else f"{abs(value):.4f}"
    return f"\N{MINUS SIGN}{text}" if value < 0 else text


def count(value: Any) -> str:
    """A count with thousands separators; text that is not a count stays as it is."""
    text = str(value).removesuffix(".0")
    return f"{int(text):,}" if text.isdigit() else text or NOTHING


def duration(seconds: float) -> str:
    """`75.2` -> `1 min 15 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in parts[:2])


def seeds(text: str) -> str:
    """Seeds of the ledger: `0` -> `seed 0`, `0 1 2` -> `seeds 0, 1, 2`."""
    numbers = text.split()
    return f"seed{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"


def threat_model_words(threat: ThreatModel) -> list[str]:
    """A threat model as sentences: what the attacker knows, may do to pixels, and to words."""
    sentences = [KNOWLEDGE[threat.knowledge].format(source=threat.source)]
    if threat.image is None:
        sentences.append("Images stay untouched.")
    elif threat.image.norm == "l2":
        sentences.append(
            f"An image may move by at most {threat.image.eps:g} in all (l2 norm, pixel values "
            "from 0 to 1)."
        )
    else:
        eps = of_255(threat.image.eps)
        sentences.append(
            f"Every pixel value may change by at most {eps} of its range (l-inf, eps = {eps})."
        )
    if threat.text is None:
        sentences.append("Captions stay untouched.")
    else:
        words = "word" if threat.text.words == 1 else "words"
        limit = threat.text.characters
        letters = (
            "" if limit is None else f", by {limit} character{'' if limit == 1 else 's'} in all"
        )
        sentences.append(
            f"At most {threat.text.words} {words} of a caption may be replaced{letters}."
        )
        sentences.append(
            "A caption must stay true of its image."
            if threat.text.keeps_truth
            else "A caption may become false of its image."
        )
    return sentences


def check_words(name: str, value: Any, *, norm: str = "linf") -> tuple[str, str] | None:
    """A measured check of a cell as (what, how much); None where nothing was measured."""
    if value is None:
        return None
    if name == "standing":
        much = ", ".join(f"{label(member)} {count(left)}" for member, left in value.items())
    elif name in SHARES:
        much = f"{percent(value['value'])} %"
    elif name == "zero_gradients":
        much = f"{percent(value)} %"
    elif name == "max_perturbation" and norm == "linf":
        much = of_255(value)
    else:
        much = f"{value:.3g}"
    return CHECKS[name], much


def linked(text: str) -> list[tuple[str, bool]]:
    """Split text into pieces, each with whether it is a web address that may become a link."""
    pieces = re.split(r"(https?://[^\s<>\"']+[^\s<>\"'.,;)])", text)
    return [(piece, bool(i % 2)) for i, piece in enumerate(pieces) if piece]
