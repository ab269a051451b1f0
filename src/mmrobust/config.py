"""Configured objects: a section of a study and the class that it configures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from mmrobust.errors import UserError, unknown_name
from mmrobust.quantities import NonNegativeInt, PositiveInt

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is measured, and on what.

    Fields:
        split: the split whose items are attacked.
        gallery_images: images in a gallery, with all their captions; the split is cut into
            disjoint galleries of each of these sizes. The first is the main one: it is
            summarised, judged and drawn where no size is named.
        batch_images: images attacked at once, with all their captions; it changes memory and
            speed, and results only by rounding.
        examples: items of which pictures and captions are kept, to look at.
        ks: cut-offs of recall.
        n_resamples: bootstrap resamples of an interval.
        confidence: level of an interval.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    split: Literal["train", "dev", "test"] = "test"
    gallery_images: Annotated[
        tuple[PositiveInt, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})
    ]
    batch_images: PositiveInt = 50
    examples: NonNegativeInt = 6
    ks: Annotated[
        tuple[PositiveInt, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})
    ] = (1, 5, 10)
    n_resamples: PositiveInt = 2000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95

    def __post_init__(self) -> None:
        for name, values in (("gallery_images", self.gallery_images), ("ks", self.ks)):
            if len(set(values)) < len(values) or not values:
                raise UserError(
                    f"evaluation.{name}: must be one or several distinct numbers "
                    f"(got {', '.join(map(str, values)) or 'none'})"
                )


def build(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """Make a configured object of `cls` from its section.

    Raises:
        UserError: naming `where`, the key and what is wrong with it.

    Keys that only name the class or its threat model are the caller's to take out first.
    """
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise unknown_name(f"key in {where}:", name, known)
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([where, *map(str, first["loc"])])
        raise UserError(f"{key}: {first['msg']} (got {first['input']!r})") from None
