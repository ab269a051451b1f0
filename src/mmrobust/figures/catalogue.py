"""The figures of a study: which notebook draws each, and what a reader is told about it.

The pipeline takes its outputs from this list and the report its order and captions. Planning a
study reads it, so nothing is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A figure of a study.

    Fields:
        notebook: that draws it.
        caption: what a reader is told about it.
        shows_data: whether it shows the dataset's own content.
        of_sweeps: whether a study without sweeps has nothing to show in it.
    """

    notebook: str
    caption: str
    shows_data: bool = False
    of_sweeps: bool = False


FIGURES = {
    "examples": Entry(
        notebook="examples",
        caption="What the strongest joint attack did to a fixed draw of test items, which was not "
        "chosen by outcome: each defence is attacked on its own. Replaced words are struck out, "
        "their substitutes marked; ranks are of the item's own captions and image.",
        shows_data=True,
    ),
    "recall_by_defence": Entry(
        notebook="recall_by_defence",
        caption="Recall at 1 by defence and attack. Whiskers that overlap do not prove a tie: the "
        "claims below are judged by paired tests.",
    ),
    "worst_case": Entry(
        notebook="recall_by_defence",
        caption="What each defence keeps in the worst case, query by query, over several attacks. "
        "Only the query's own image and captions are attacked. A defence is worth what is left "
        "here, if the attacks are good ones.",
    ),
    "attack_overview": Entry(
        notebook="recall_by_defence",
        caption="Every attack from the weakest to the strongest, and the worst case over several "
        "set apart. Only the query's own image and captions are attacked. A dagger marks attacks "
        "whose captions may become false: what they win is not all the model's fault.",
    ),
    "robustness_curves": Entry(
        notebook="recall_by_defence",
        caption="Recall at 1 as the attacker may do more. A line that stays up where images may be "
        "changed beyond recognition says that the attack fails, not that the model is robust.",
    ),
    "dose_response": Entry(
        notebook="recall_by_defence",
        caption="Recall at 1 of a defence over one setting of the augmentations that it learns "
        "from, all else equal, and under each value what was measured of them. Dashed: the same "
        "defence without augmentations. A setting matters where a line moves by more than its "
        "seeds differ.",
        of_sweeps=True,
    ),
    "dose_curves": Entry(
        notebook="recall_by_defence",
        caption="The same settings as the attacker may do more, a line a value: whether a setting "
        "matters at every strength, or at one alone.",
        of_sweeps=True,
    ),
    "recall_at_k": Entry(
        notebook="recall_by_defence",
        caption="Recall at 1, 5 and 10 under the strongest attack on whole galleries (solid) and "
        "on clean inputs (dotted): is the right answer lost, or only pushed down?",
    ),
    "attack_success_rate": Entry(
        notebook="recall_by_defence",
        caption="Attack success rate by both definitions in use. A model that is rarely right can "
        "look robust by either: read them beside recall.",
    ),
}
"""Figures by name, which is the name of their files, in the order in which they are shown."""


def figures_of(notebook: str) -> list[str]:
    """Names of the figures that a notebook draws."""
    return [name for name, entry in FIGURES.items() if entry.notebook == notebook]


def shown_figures(*, sweeps: bool) -> dict[str, Entry]:
    """Figures that a reader is shown, by name, of a study that has sweeps or has none."""
    return {name: entry for name, entry in FIGURES.items() if sweeps or not entry.of_sweeps}
