"""Entries of the ledger: `config/claims.yaml`, read strictly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrobust.claims.statistics import (
    DIRECTIONS,
    LABELS,
    PROTOCOLS,
    Difference,
    Measure,
    RelativeDrop,
    Selection,
    Side,
    Statistic,
    Trend,
)
from mmrobust.errors import UserError, unknown_name
from mmrobust.yaml_file import read_yaml

STATISTICS: Mapping[
    str, tuple[type[Difference] | type[Trend] | type[RelativeDrop], Mapping[str, type]]
] = {
    "difference": (Difference, {"a": Side, "b": Side}),
    "trend": (Trend, {"along": Side}),
    "relative_drop": (RelativeDrop, {"cell": Selection}),
}
"""Kind of statistic: its class and what it compares. A `Side` may name several defences."""

_MEASURE_KEYS = ("protocol", "direction", "labels", "k")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of a paper and how it is tested.

    Attributes:
        id: name by which studies select it.
        statement: what the paper says, in our words.
        source: paper and section or version.
        statistic: what is computed, from which cells.
        margin: the claim holds if the statistic exceeds it.
        note: printed beside every verdict; "" for none.
        world_note: printed where the study's world was chosen to show the effect; "" for none.
        chosen_in: studies of which `world_note` is true.
    """

    id: str
    statement: str
    source: str
    statistic: Statistic
    margin: float
    note: str
    world_note: str
    chosen_in: tuple[str, ...]


def load_claims(path: Path) -> dict[str, Claim]:
    """Claims of the file by id, in its order.

    Raises:
        UserError: for anything amiss, naming the file and the claim.
    """
    document = read_yaml(path)
    entries = _fields(document, ("claims",), str(path))["claims"]
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path}: 'claims' must be a list of at least one claim")
    claims: dict[str, Claim] = {}
    for at, entry in enumerate(entries):
        named = isinstance(entry, dict) and isinstance(entry.get("id"), str)
        claim = _claim(entry, f"{path}: claim {entry['id'] if named else f'number {at + 1}'}")
        if claim.id in claims:
            raise UserError(f"{path}: claim {claim.id} stands twice")
        claims[claim.id] = claim
    return claims


def select_claims(claims: Mapping[str, Claim], ids: Sequence[str], *, where: str) -> list[Claim]:
    """Claims named by a study, in its order; `UserError` with the nearest id if unknown."""
    for name in ids:
        if name not in claims:
            raise unknown_name(f"claim in {where}:", name, claims)
    return [claims[name] for name in ids]


def _claim(entry: Any, where: str) -> Claim:
    fields = _fields(
        entry,
        ("id", "statement", "source", "statistic", "margin", "note", "world_note", "chosen_in"),
        where,
    )
    source = _fields(fields["source"], ("paper", "section"), f"{where}: source")
    margin = fields["margin"]
    if isinstance(margin, bool) or not isinstance(margin, int | float):
        raise UserError(f"{where}: margin must be a number, not {margin!r}")
    chosen_in = fields["chosen_in"]
    if not isinstance(chosen_in, list) or not all(isinstance(name, str) for name in chosen_in):
        raise UserError(f"{where}: chosen_in must be a list of studies, not {chosen_in!r}")
    if chosen_in and fields["world_note"] is None:
        raise UserError(f"{where}: chosen_in names studies but world_note is null")
    return Claim(
        id=_text(fields, "id", where),
        statement=_text(fields, "statement", where),
        source=", ".join(_text(source, key, f"{where}: source") for key in ("paper", "section")),
        statistic=_statistic(fields["statistic"], f"{where}: statistic"),
        margin=float(margin),
        note=_optional_text(fields, "note", where),
        world_note=_optional_text(fields, "world_note", where),
        chosen_in=tuple(chosen_in),
    )


def _statistic(value: Any, where: str) -> Statistic:
    kind = str(value.get("kind")) if isinstance(value, dict) else ""
    if kind not in STATISTICS:
        raise UserError(f"{where}: {unknown_name('kind', kind, STATISTICS)}")
    made, cells = STATISTICS[kind]
    fields = _fields(value, ("kind", *cells, *_MEASURE_KEYS), where, optional=("gallery_images",))
    for key, known in (("protocol", PROTOCOLS), ("direction", DIRECTIONS), ("labels", LABELS)):
        if fields[key] not in known:
            raise UserError(f"{where}: {unknown_name(key, str(fields[key]), known)}")
    named = fields.get("gallery_images") is not None
    measure = Measure(
        **{key: fields[key] for key in ("protocol", "direction", "labels")},
        k=_whole(fields, "k", where),
        gallery_images=_whole(fields, "gallery_images", where) if named else None,
    )
    chosen: dict[str, Any] = {
        name: (_side if of is Side else _selection)(fields[name], f"{where}: {name}")
        for name, of in cells.items()
    }
    if made is Trend and len(chosen["along"].defences) == 1:
        raise UserError(f"{where}: along: defence must be a list of at least two")
    return made(measure=measure, **chosen)


def _selection(value: Any, where: str) -> Selection:
    fields = _fields(value, ("defence", "attack"), where)
    return Selection(**{key: _text(fields, key, where) for key in fields})


def _side(value: Any, where: str) -> Side:
    """A defence, or a list of distinct ones that the mean is taken over, under an attack."""
    fields = _fields(value, ("defence", "attack"), where)
    named = fields["defence"]
    if not isinstance(named, list):
        named = [_text(fields, "defence", where)]
    if not named or not all(isinstance(name, str) and name.strip() for name in named):
        raise UserError(f"{where}: defence must be a text or a list of texts, not {named!r}")
    if len(set(named)) < len(named):
        raise UserError(f"{where}: defence names one twice: {', '.join(named)}")
    return Side(defences=tuple(named), attack=_text(fields, "attack", where))


def _fields(
    value: Any, names: Sequence[str], where: str, *, optional: Sequence[str] = ()
) -> dict[str, Any]:
    """`value` if it is a mapping with all keys of `names` and no others but `optional` ones."""
    if not isinstance(value, dict):
        raise UserError(f"{where}: must hold {', '.join(names)}")
    for key in value:
        if key not in (*names, *optional):
            raise UserError(f"{where}: {unknown_name('key', str(key), (*names, *optional))}")
    missing = [name for name in names if name not in value]
    if missing:
        raise UserError(f"{where}: lacks {', '.join(missing)}")
    return value


def _text(fields: Mapping[str, Any], key: str, where: str) -> str:
    value = fields[key]
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: {key} must be a text, not {value!r}")
    return " ".join(value.split())


def _whole(fields: Mapping[str, Any], key: str, where: str) -> int:
    value = fields[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{where}: {key} must be a whole number from 1, not {value!r}")
    return value


def _optional_text(fields: Mapping[str, Any], key: str, where: str) -> str:
    return "" if fields[key] is None else _text(fields, key, where)
