"""Numbers as they are written in configurations: `2/255`, `0.008` or `1`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

FRACTION_PATTERN = r"^\s*\d+(\.\d+)?\s*/\s*\d+(\.\d+)?\s*$"


def parse_fraction(value: object) -> object:
    """Turn `a/b` into a float and leave everything else to the validator behind it."""
    if isinstance(value, str) and re.match(FRACTION_PATTERN, value):
        numerator, denominator = (float(part) for part in value.split("/"))
        if denominator == 0:
            raise ValueError(f"{value!r} divides by zero")
        return numerator / denominator
    return value


def _written_as(minimum: float, maximum: float | None) -> WithJsonSchema:
    number: dict[str, object] = {"type": "number", "minimum": minimum}
    if maximum is not None:
        number["maximum"] = maximum
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": FRACTION_PATTERN}]})


PixelDistance = Annotated[
    float, BeforeValidator(parse_fraction), Field(ge=0, le=1), _written_as(0, 1)
]
"""A distance in pixel units of [0, 1], written as a number or as `2/255`."""

Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
