"""Sweeps of a study: a setting of an augmentation over several values, each with a defence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jsonschema

from mmrobust.curves import as_name
from mmrobust.errors import UserError, unknown_name
from mmrobust.quantities import is_distance, parse_fraction
from mmrobust.schema_errors import as_user_error, first
from mmrobust.sweep_table import Point

if TYPE_CHECKING:
    from mmrobust.study import Study

Section = dict[str, Any]
NUMBER = "n"
"""What is varied where it is how many of an item's augmentations are learned from."""
NO_FIELDS = ("method", NUMBER, "workers")
"""Keys of an augmentation that no sweep varies."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep of the study, whose parts are there.

    Fields:
        base: name of the defence that is varied.
        swept: name of the augmentation that it learns from.
        field: of the augmentation, or `n`.
        key: that holds the values.
        values: as they are written.
    """

    base: str
    swept: str
    field: str
    key: str
    values: Sequence[Any]

    def defence(self, value: object) -> str:
        """Name of the defence of a point, unless the base is that point."""
        return f"{self.base}_{self.field}_{as_name(value)}"

    def augmentation(self, value: object) -> str:
        """Name of the augmented set of a point."""
        own = self.swept
        return own if self.field == NUMBER else f"{own}_{self.field}_{as_name(value)}"


def laid_out(study: Study, validator: jsonschema.Draft202012Validator, where: str) -> Study:
    """The study with each point of each sweep as a defence, with an augmentation, of its own.

    A value that the base has makes nothing new: the base is that point. Points of two sweeps
    that are alike are one.

    Args:
        study: whose sections are well-formed.
        validator: of whole studies.
        where: file of the study.
    """
    augmentations, defences = dict(study.augmentations), dict(study.defences)
    claimed: dict[str, object] = dict.fromkeys(study.defences)
    for name in study.sweeps:
        place = f"{where}: sweeps.{name}"
        sweep = _checked(study, name, place)
        base = study.defences[sweep.base]
        learned, entry = base["augmentations"], study.augmentations[sweep.swept]
        own = _own_value(sweep, entry, learned, validator, place)
        for at, value in enumerate(sweep.values):
            defence, set_name = sweep.defence(value), sweep.augmentation(value)
            made = entry if sweep.field == NUMBER else {**entry, sweep.field: value}
            _check_point(defence, made, validator, f"{place}.{sweep.key}.{at}")
            meant = (sweep.base, sweep.swept, sweep.field, _comparable(value))
            if claimed.setdefault(defence, meant) != meant:
                raise _taken(place, defence)
            if _comparable(value) == _comparable(own):
                continue
            # Sweeps over several defences share the augmented sets of their points.
            taken_set = augmentations.setdefault(set_name, made) != made
            if taken_set or (set_name != sweep.swept and set_name in learned):
                raise _taken(place, set_name)
            number = value if sweep.field == NUMBER else learned[sweep.swept]
            instead = {
                set_name if old == sweep.swept else old: number if old == sweep.swept else k
                for old, k in learned.items()
            }
            defences[defence] = {**base, "augmentations": instead}
    return replace(study, augmentations=augmentations, defences=defences)


def points(study: Study) -> list[Point]:
    """The points of all sweeps of a study that is laid out, in its order."""
    found = []
    for name, section in study.sweeps.items():
        sweep = _sweep(section)
        bare = {**study.defences[sweep.base]}
        del bare["augmentations"]
        without = next((other for other, entry in study.defences.items() if entry == bare), "")
        for value in sweep.values:
            # Planning has seen to it that no other defence has the name of a point.
            new = sweep.defence(value) in study.defences
            defence = sweep.defence(value) if new else sweep.base
            augmentation = sweep.augmentation(value) if new else sweep.swept
            found.append(
                Point(
                    sweep=name,
                    field=sweep.field,
                    value=_written(value),
                    defence=defence,
                    augmentation=augmentation,
                    n=study.defences[defence]["augmentations"][augmentation],
                    base=sweep.base,
                    swept=sweep.swept,
                    without=without,
                )
            )
    return found


def _sweep(section: Section) -> Sweep:
    key = NUMBER if NUMBER in section else "values"
    return Sweep(
        base=section["defence"],
        swept=section["augmentation"],
        field=section.get("field", NUMBER),
        key=key,
        values=section[key],
    )


def _checked(study: Study, name: str, place: str) -> Sweep:
    """A sweep whose defence learns from its augmentation, over values that differ."""
    sweep = _sweep(study.sweeps[name])
    if sweep.base not in study.defences:
        raise unknown_name(f"defence in {place}:", sweep.base, study.defences)
    if sweep.swept not in study.augmentations:
        raise unknown_name(f"augmentation in {place}:", sweep.swept, study.augmentations)
    learned = study.defences[sweep.base].get("augmentations", {})
    if sweep.swept not in learned:
        raise UserError(
            f"{place}: defence {sweep.base!r} doesn't learn from augmentation {sweep.swept!r} "
            f"(allowed: {', '.join(learned) or 'none'})"
        )
    seen: dict[object, object] = {}
    for value in sweep.values:
        known = _comparable(value)
        if known in seen:
            equal = f"{_written(seen[known])} and {_written(value)} are equal"
            raise UserError(f"{place}.{sweep.key}: {equal}")
        seen[known] = value
    return sweep


def _own_value(
    sweep: Sweep,
    entry: Section,
    learned: Section,
    validator: jsonschema.Draft202012Validator,
    place: str,
) -> object:
    """The value that the base has: as written, or the default of the augmentation's class."""
    if sweep.field == NUMBER:
        return learned[sweep.swept]
    known = _fields(entry["method"], validator)
    if sweep.field not in known:
        kind = f"field of augmentation {sweep.swept!r} in {place}.field:"
        raise unknown_name(kind, sweep.field, known)
    if sweep.field not in entry and "default" not in known[sweep.field]:
        raise UserError(
            f"{place}.field: {sweep.field!r} has no default: write it in "
            f"augmentations.{sweep.swept}"
        )
    return entry.get(sweep.field, known[sweep.field].get("default"))


def _fields(method: str, validator: jsonschema.Draft202012Validator) -> Section:
    """What the schema says of the fields of an augmentation method."""
    for choice in _entry_schema(validator)["allOf"]:
        if choice["if"]["properties"]["method"]["const"] == method:
            known = choice["then"]["properties"].items()
            return {name: field for name, field in known if name not in NO_FIELDS}
    raise AssertionError(f"the schema has no method {method!r}")


def _entry_schema(validator: jsonschema.Draft202012Validator) -> Section:
    schema: Any = validator.schema
    entry: Section = schema["properties"]["augmentations"]["additionalProperties"]
    return entry


def _check_point(
    defence: str,
    made: Section,
    validator: jsonschema.Draft202012Validator,
    place: str,
) -> None:
    """A point is named like what is written, and its augmentation is one that could be."""
    schema: Any = validator.schema
    errors = list(validator.evolve(schema=_entry_schema(validator)).iter_errors(made))
    if errors:
        raise as_user_error(first(errors), place, schema)
    pattern = schema["properties"]["defences"]["propertyNames"]["pattern"]
    if not re.fullmatch(pattern, defence):
        raise UserError(f"{place}: makes the name {defence!r} (allowed: {pattern})")


def _taken(place: str, name: str) -> UserError:
    return UserError(f"{place}: one of its points needs the name {name!r}, which is taken")


def _comparable(value: object) -> tuple[bool, object]:
    """Equal for equal settings: 1/2 is 0.5 and 0 is 0.0, but not false."""
    return isinstance(value, bool), parse_fraction(value) if is_distance(value) else value


def _written(value: object) -> str:
    """A value as YAML writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
