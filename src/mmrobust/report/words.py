"""Numbers and threat models in words that a reader understands without the code."""

from __future__ import annotations

import math
import re
from typing import Any

from mmrobust.threat import ThreatModel

NOTHING = "\N{EN DASH}"

KNOWLEDGE = {"white_box": "The attacker knows the model and its weights (white box)."}
CHECKS = {
    "max_abs_perturbation": "largest change of a pixel value",
    "max_words_changed": "most words changed in a caption",
    "mean_words_changed": "words changed in a caption, on average",
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


def of_255(eps: float) -> str:
    """A pixel budget as the papers write it: `0.00784...` -> `2/255`."""
    steps = eps * 255
    # single precision leaves a few millionths beside a whole number
    return f"{round(steps)}/255" if abs(steps - round(steps)) < 1e-3 else f"{steps:.3g}/255"


def threat_model_words(threat: ThreatModel) -> list[str]:
    """A threat model as sentences: what the attacker knows, may do to pixels, and to words."""
    sentences = [KNOWLEDGE[threat.knowledge]]
    if threat.image is None:
        sentences.append("Images stay untouched.")
    else:
        eps = of_255(threat.image.eps)
        sentences.append(
            f"Every pixel value may change by at most {eps} of its range (l-inf, eps = {eps})."
        )
    if threat.text is None:
        sentences.append("Captions stay untouched.")
    else:
        words = "word" if threat.text.words == 1 else "words"
        sentences.append(f"At most {threat.text.words} {words} of a caption may be replaced.")
    return sentences


def check_words(name: str, value: float) -> tuple[str, str]:
    """A measured check of a cell as (what, how much)."""
    much = of_255(value) if name == "max_abs_perturbation" else f"{value:.3g}"
    return CHECKS[name], much


def linked(text: str) -> list[tuple[str, bool]]:
    """Split text into pieces, each with whether it is a web address that may become a link."""
    pieces = re.split(r"(https?://[^\s<>\"']+[^\s<>\"'.,;)])", text)
    return [(piece, bool(i % 2)) for i, piece in enumerate(pieces) if piece]
