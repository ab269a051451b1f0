"""What a language model is told so that it rewrites a caption, and what is read from its answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

INSTRUCTION = (
    "Say each image caption in other words. Keep what it says, add nothing to it, and answer with "
    "the new caption alone."
)

PAIRS = (
    ("a dog runs after a ball in the park", "in the park a dog is chasing a ball"),
    (
        "two children are building a castle of sand near the sea",
        "a pair of kids shape a sandcastle close to the water",
    ),
    (
        "a woman with an umbrella waits for the bus",
        "a lady stands at the bus stop under an umbrella",
    ),
    (
        "an old man is reading a newspaper on a bench",
        "seated on a bench an elderly man reads the news",
    ),
    ("a cat sleeps on a red sofa", "on the red couch a cat is taking a nap"),
    ("three cyclists ride down a steep hill", "a trio of people on bikes speed down a slope"),
    (
        "a chef in white is slicing vegetables",
        "vegetables are being cut by a cook dressed in white",
    ),
    (
        "a small boat is tied to a wooden pier at sunset",
        "as the sun goes down a little boat lies moored at a jetty made of wood",
    ),
    (
        "a girl blows out the candles on her cake",
        "the candles of a cake are blown out by a young girl",
    ),
    (
        "people are shopping at an outdoor market",
        "shoppers walk between the stalls of an open air market",
    ),
    (
        "a horse stands behind a fence in the snow",
        "behind a fence there is a horse on snowy ground",
    ),
    (
        "a man is playing the guitar for a small crowd",
        "a few people listen to a man who plays the guitar",
    ),
)
"""Captions of everyday scenes and the same said otherwise, in the form that captions are prepared
in."""

_ARROW = "=>"
_LIST_MARK = re.compile(r"(?:[-*\u2022]|\(?\d{1,2}[.):])\s+")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """An instruction, captions with their rewritings, and the caption to be rewritten."""

    instruction: str
    pairs: tuple[tuple[str, str], ...]
    caption: str

    def text(self) -> str:
        """A text for a model to go on with: the rewriting comes after the last arrow."""
        lines = [f"{original} {_ARROW} {rewritten}" for original, rewritten in self.pairs]
        return "\n".join([self.instruction, "", *lines, f"{self.caption} {_ARROW}"])

    def messages(self) -> list[dict[str, str]]:
        """A conversation for a model to go on with: each pair is a question and its answer."""
        said = [("system", self.instruction)]
        for original, rewritten in self.pairs:
            said += [("user", original), ("assistant", rewritten)]
        said.append(("user", self.caption))
        return [{"role": role, "content": content} for role, content in said]


def first_line(text: str, *, finished: bool) -> str:
    """The caption that a model answered with.

    Args:
        text: what it said after the prompt. A model may go on with pairs of its own after the
            first line, or with another arrow in it.
        finished: whether it stopped by itself. If it did not, within the first line, the line is
            cut at its last full sentence or, without one, before its last word, which may be half
            a word.

    Returns:
        The line without a list mark at its front and quotes around it; empty if there is none.
    """
    line, broken, _ = text.partition("\n")
    line, arrow, _ = line.partition(_ARROW)
    if not (finished or broken or arrow):
        ends = [found.end() for found in _SENTENCE_END.finditer(line)]
        line = line[: ends[-1]] if ends else line.rstrip().rpartition(" ")[0]
    line = line.strip()
    mark = _LIST_MARK.match(line)
    return line[mark.end() if mark else 0 :].strip(_QUOTES + " ")
