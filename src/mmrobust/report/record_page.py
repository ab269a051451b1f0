"""The page of a finished study's results of record, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmrobust.figures.facts import AttackFacts, attack_facts
from mmrobust.figures.notes import DOT
from mmrobust.figures.style import label
from mmrobust.report.claims import reading
from mmrobust.report.flags import MEANINGS, Flag, counted
from mmrobust.report.markdown import code, table
from mmrobust.report.provenance import provenance
from mmrobust.report.record import Record
from mmrobust.report.record_tables import (
    curve_tables,
    estimate_text,
    recall_tables,
    sweep_tables,
)
from mmrobust.report.tables import Number, hard_negatives
from mmrobust.report.words import NOTHING, count, decimal

SETS = (
    *("true_share", "alignment", "alignment_original", "embedding_spread"),
    *("self_bleu_diversity", "pixel_difference", "distinct_1", "distinct_2"),
    *("frechet_distance", "frechet_distance_floor", "mmd2", "mmd2_floor"),
)


def page(record: Record, *, about: str, files: Sequence[str]) -> str:
    """The whole page.

    Args:
        record: the study.
        about: how it was run, in a line; may be empty.
        files: names of what stands beside the page.
    """
    first = record.metrics.iloc[0]
    sections = {
        "": [about, provenance(record), _files(files)],
        "Claims": _claims(record),
        "Attacks": [_attacks(record)],
        "Recall, whole gallery attacked": [
            *recall_tables(record, "full_gallery"),
            *recall_tables(record, "full_gallery", "positives"),
        ],
        "Recall, all attacks": recall_tables(record, "own_pair"),
        "Curves": curve_tables(record),
        "Sweeps": sweep_tables(record),
        "Augmented sets": _sets(record),
        "Captions with one word made wrong": _hard_negatives(record),
        "Flags of masked gradients": _flags(record),
    }
    parts = [f"# Results of record: {code(first['study'])}"]
    for title, section in sections.items():
        told = [part for part in section if part]
        parts += [f"## {title}", *told] if title and told else told
    return "\n\n".join(parts) + "\n"


def _files(files: Sequence[str]) -> str:
    tables = ", ".join(f"[{name}]({name})" for name in files if not name.endswith(".png"))
    figures = [
        f"![{label(name.removesuffix('.png'))}]({name})" for name in files if name.endswith(".png")
    ]
    note = f"Every number with all its columns: {tables}."
    return "\n\n".join([note, *figures])


def _claims(record: Record) -> list[str]:
    claims = record.claims
    if not claims:
        return []
    rows = [
        [
            f"{code(claim['id'])}: {claim['statement']}",
            claim["statistic"],
            _interval(claim),
            decimal(claim["margin"]),
            claim["verdict"],
            _share(claim["verdict_confidence"]),
            count(claim["n"]),
            claim["seeds"].replace(" ", ", "),
        ]
        for claim in claims
    ]
    head = ["claim", "statistic", "estimate [interval]", "margin", "verdict"]
    notes = [
        f"- {code(claim['id'])}: {claim['source']}. {_sentence(claim['note'])}" for claim in claims
    ]
    return [
        f"{reading(claims, several_seeds=record.several_seeds)} The confidence beside a verdict "
        "is that which the number of claims asks for (Holm).",
        table([*head, "confidence", "n", "seeds"], rows),
        "Sources and notes of the ledger:",
        "\n".join(note.rstrip() for note in notes),
    ]


def _interval(claim: dict[str, Any]) -> str:
    if claim["low"] is None:
        return decimal(claim["estimate"])
    ends = f"[{decimal(claim['low'])}, {decimal(claim['high'])}]"
    return f"{decimal(claim['estimate'])} {ends} at {_share(claim['confidence'])}"


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.4g} %"


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def _attacks(record: Record) -> str:
    facts = attack_facts(record.metrics)
    rows = [
        [code(name), _may(of), count(of.attacked_images), of.truth_words() or NOTHING]
        for name in record.own.attacks
        if (of := facts[name]).knowledge
    ]
    return table(["attack", "what it may do", "images", "captions still true"], rows)


def _may(facts: AttackFacts) -> str:
    parts = [facts.worst_case_words(), facts.in_brief()]
    if facts.words:
        parts.append(f"captions {'must stay true' if facts.keeps_truth else 'may become false'}")
    return DOT.join(part for part in parts if part)


def _sets(record: Record) -> list[str]:
    if not record.sets:
        return []
    names = [name for name in SETS if any(found.of(name) is not None for found in record.sets)]
    rows = []
    for found in record.sets:
        of = {name: record.estimates.get((found.name, found.n, name)) for name in names}
        items = {estimate.items for estimate in of.values() if estimate is not None}
        told = [estimate_text(name, estimate) for name, estimate in of.items()]
        about = [code(found.name), found.method, found.an_item]
        rows.append([*about, "/".join(count(of) for of in sorted(items)), *told])
    return [
        f"Measured by a model that is not under test, with [intervals] over the training items "
        f"that are measured; {code('true_share')} in percent; a {code('_floor')} is the distance "
        "of two halves of the originals from each other. [What each measure is]"
        f"(../../../config/README.md#what-comes-out). Of fewer augmentations an item: "
        f"{code('augmentations.csv')}.",
        table(["set", "method", "an item", "items", *names], rows),
    ]


def _hard_negatives(record: Record) -> list[str]:
    found = hard_negatives(record.metrics, record.whole)
    if not found:
        return []
    rows = [
        [
            code(of.defence),
            of.seed or str(record.whole.seeds[0]),
            *(_of_n(number) for number in (of.plain, of.rare)),
        ]
        for of in found
    ]
    return [
        "How often the clean model prefers a caption to the same with one word made wrong, as it "
        "is and said with a rare word that is right or wrong (chance: one half).",
        table(["defence", "seed", "as it is, % [interval]", "rare word, % [interval]"], rows),
    ]


def _of_n(number: Number | None) -> str:
    if number is None:
        return NOTHING
    told = f"{number.interval}, n = {number.n}" if number.n else f"({number.interval})"
    return f"{number.value} {told}"


def _flags(record: Record) -> list[str]:
    raised = [flag for flag in record.flags if flag.raised]
    checks = [
        [code(of.name), str(of.raised), str(of.checked), MEANINGS.get(of.name, "")]
        for of in counted(record.flags)
    ]
    parts = [f"{len(raised)} raised of {count(len(record.flags))} checks."]
    parts += [table(["flag", "raised", "checks", "if raised"], checks)] if checks else []
    if raised:
        head = ["defence", "seed", "attack", "flag", "against", "value [interval]", "n"]
        parts.append(table(head, [_raised(flag) for flag in raised]))
    return parts


def _raised(flag: Flag) -> list[str]:
    ends = f" [{decimal(flag.low)}, {decimal(flag.high)}]" if flag.low is not None else ""
    names = [code(flag.defence), str(flag.seed), code(flag.attack), code(flag.name)]
    against = code(flag.against) if flag.against else NOTHING
    return [*names, against, decimal(flag.value) + ends, count(flag.n)]
