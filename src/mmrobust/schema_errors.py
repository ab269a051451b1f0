"""What a JSON schema finds wrong, told in one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import jsonschema

from mmrobust.errors import UserError, unknown_name

NAME_PATTERN = "^[a-z][a-z0-9_]*$"
"""What a name is: it may become a folder, a file, a rule of Snakemake."""
SAYS = "x-says"
"""Key beside a choice of the schema: what its failure is told as."""

Schema = Mapping[str, Any]
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def first(errors: Iterable[jsonschema.ValidationError]) -> jsonschema.ValidationError:
    """The one to tell of: the first by its place, and a wrong type before what follows from it."""
    return min(errors, key=lambda e: ([str(part) for part in e.path], e.validator != "type"))


def as_user_error(error: jsonschema.ValidationError, where: str, schema: Schema) -> UserError:
    """One line: the file, the key, what is wrong, and what is allowed.

    Args:
        error: found by the schema.
        where: the file.
        schema: the whole, with its `$defs`.
    """
    key = ".".join(str(part) for part in error.absolute_path)
    place = f"{where}: {key}" if key else where
    assert isinstance(error.schema, dict)
    instance: Any = error.instance
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(name for name in instance if name not in known)
        return unknown_name(f"key in {place}:", unknown, known)
    if error.validator in ("enum", "const"):
        allowed = error.schema.get("enum") or [error.schema["const"]]
        return unknown_name(f"value of {place}:", str(error.instance), allowed)
    if error.validator in ("minProperties", "minItems"):
        return UserError(f"{place}: must not be empty")
    if error.validator in ("anyOf", "oneOf"):
        return _of_choice(error, place, where, schema)
    if error.validator == "required":
        missing = next(name for name in error.schema["required"] if name not in instance)
        return UserError(f"{place}: `{missing}` is missing")
    if error.validator == "type":
        return _of_type(error, place)
    if error.validator == "pattern" and error.validator_value == NAME_PATTERN:
        return UserError(
            f"{place}: {instance!r} is no name; allowed: lower-case letters, digits and _, a "
            "letter first"
        )
    return UserError(f"{place}: {error.message}")


TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "nothing",
    "number": "a number",
    "object": "a mapping of names to values",
    "string": "a text",
}


def _of_type(error: jsonschema.ValidationError, place: str) -> UserError:
    """What was wanted in YAML's words, and the number that YAML takes for a text."""
    named: Any = error.validator_value
    wanted = [TYPES[name] for name in ([named] if isinstance(named, str) else named)]
    told = f"{place}: must be {' or '.join(wanted)}, not {error.instance!r}"
    if isinstance(error.instance, str) and _EXPONENT.fullmatch(error.instance):
        told += " (YAML takes this for a text: write it with a point and a sign, as in 1.0e-3)"
    return UserError(told)


def _of_choice(
    error: jsonschema.ValidationError, place: str, where: str, schema: Schema
) -> UserError:
    """What is wrong with the branch that was meant, or that none of them was."""
    assert isinstance(error.schema, dict)
    if SAYS in error.schema:
        return UserError(f"{place}: {error.schema[SAYS]}")
    kinds = _kinds(error.schema[str(error.validator)], schema)
    reasons = list(error.context or [])
    if not kinds:
        # An optional section: what is wrong with it says more than that it is not null either.
        given = [reason for reason in reasons if reason.validator_value != "null"]
        return as_user_error(first(given), where, schema)
    instance: Any = error.instance
    if not isinstance(instance, dict):
        return UserError(f"{place}: must be a mapping such as {{kind: {next(iter(kinds))}}}")
    if "kind" not in instance:
        return UserError(f"{place}: `kind` is missing (allowed: {', '.join(sorted(kinds))})")
    if instance["kind"] not in list(kinds):
        return unknown_name(f"value of {place}.kind:", str(instance["kind"]), kinds)
    branch = kinds[instance["kind"]]
    of_branch = [reason for reason in reasons if reason.schema_path[0] == branch]
    return as_user_error(first(of_branch), where, schema)


def _kinds(branches: list[Schema], schema: Schema) -> dict[str, int]:
    """Number of the branch by its `kind`; none where branches are not told by one."""
    found = {}
    for number, branch in enumerate(branches):
        name = branch.get("$ref", "").removeprefix("#/$defs/")
        properties = (schema["$defs"][name] if name else branch).get("properties", {})
        kind = properties.get("kind", {}).get("const")
        if kind is not None:
            found[kind] = number
    return found
