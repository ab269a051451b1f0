"""Numbers and threat models in words that a reader understands without the code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmrobust.threat import ImageBudget, ThreatModel

NOTHING = "\N{EN DASH}"

KNOWLEDGE = {
    "white_box": "The attacker knows the model and its weights (white box).",
    "transfer": "The attacker knows another model and carries the attack over (transfer).",
    "query": "The attacker only sees the model's answers to queries (query access).",
}
CHECKS = {
    "max_abs_perturbation": "largest change of a pixel value",
    "max_words_changed": "most words changed in a caption",
    "mean_words_changed": "words changed in a caption, on average",
}


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal: `0.4871` -> `48.7`."""
    return NOTHING if value is None or value != value else f"{100 * value:.1f}"


def decimal(value: float | None) -> str:
    """A statistic with four decimals, with a true minus sign."""
    return (
        NOTHING
        if value is None or value != value
        else f"{value:.4f}".replace("-", "\N{MINUS SIGN}")
    )


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


def of_255(eps: float | str) -> str:
    """A pixel budget as the papers write it: `0.00784...` or `"2/255"` -> `2/255`."""
    if isinstance(eps, str):
        return eps
    steps = eps * 255
    # single precision leaves a few millionths beside a whole number
    return f"{round(steps)}/255" if abs(steps - round(steps)) < 1e-3 else f"{steps:.3g}/255"


def threat_model_words(threat_model: Mapping[str, Any]) -> list[str]:
    """A threat model as sentences: what the attacker knows, may do to pixels, and to words."""
    knowledge = str(threat_model.get("knowledge", ThreatModel.knowledge))
    return [
        KNOWLEDGE.get(knowledge, f"Knowledge: {knowledge}."),
        _image_words(threat_model.get("image")),
        _text_words(threat_model.get("text")),
    ]


def _image_words(budget: Mapping[str, Any] | None) -> str:
    if not budget:
        return "Images stay untouched."
    norm, eps = budget.get("norm", ImageBudget.norm), of_255(budget.get("eps", NOTHING))
    if norm == "linf":
        return f"Every pixel value may change by at most {eps} of its range (l-inf, eps = {eps})."
    if norm == "l2":
        return f"The change of an image has a Euclidean length of at most {eps} (l2)."
    return f"Image budget: {_listed(budget)}."


def _text_words(budget: Mapping[str, Any] | None) -> str:
    if not budget:
        return "Captions stay untouched."
    words = budget.get("words")
    if set(budget) == {"words"}:
        return f"At most {words} {'word' if words == 1 else 'words'} of a caption may be replaced."
    return f"Text budget: {_listed(budget)}."


def _listed(budget: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in budget.items())


def check_words(name: str, value: Any) -> tuple[str, str]:
    """A measured check of a cell as (what, how much)."""
    what = CHECKS.get(name, name.replace("_", " "))
    if name == "max_abs_perturbation" and value is not None:
        return what, of_255(float(value))
    if isinstance(value, float):
        return what, f"{value:.3g}"
    return what, NOTHING if value is None else str(value)


def linked(text: str) -> list[tuple[str, bool]]:
    """Split text into pieces, each with whether it is a web address that may become a link."""
    pieces = re.split(r"(https?://[^\s<>\"']+[^\s<>\"'.,;)])", text)
    return [(piece, bool(i % 2)) for i, piece in enumerate(pieces) if piece]
