"""Numbers as they are written in configurations: `2/255`, `0.008` or `1`."""

from __future__ import annotations

import math
import re
from typing import Annotated, cast

from pydantic import BeforeValidator, Field, WithJsonSchema

_FRACTION = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)")


def parse_fraction(value: object) -> object:
    """Turn `a/b` into a float and leave everything else to the validator behind it.

    Raises:
        ValueError: `b` is zero.
    """
    found = _FRACTION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return value
    numerator, denominator = map(float, found.groups())
    if denominator == 0:
        raise ValueError(f"{value!r} divides by zero")
    return numerator / denominator


PIXEL_DISTANCE_FORMAT = "distance in 0..1, as a number or a fraction such as 2/255"


PixelDistance = Annotated[
    float,
    BeforeValidator(parse_fraction),
    Field(ge=0, le=1),
    WithJsonSchema({"type": ["number", "string"], "format": PIXEL_DISTANCE_FORMAT}),
]
"""A distance in pixel units of [0, 1], written as a number or as `2/255`."""

Fraction = Annotated[float, Field(ge=0, le=1)]
DISTANCE_FORMAT = "distance of at least 0, as a number or a fraction such as 128/255"


def is_distance(value: object) -> bool:
    """Whether a configured value is a distance in pixel units, whatever the norm."""
    try:
        number = parse_fraction(value)
    except ValueError:
        return False
    return (
        isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number < math.inf
    )


def is_pixel_distance(value: object) -> bool:
    """Whether a configured value is a distance in pixel units of [0, 1]."""
    return is_distance(value) and float(cast(float, parse_fraction(value))) <= 1


Distance = Annotated[
    float,
    BeforeValidator(parse_fraction),
    Field(ge=0, allow_inf_nan=False),
    WithJsonSchema({"type": ["number", "string"], "format": DISTANCE_FORMAT}),
]
"""A distance in pixel units that may exceed 1, as an l2 norm does."""

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
