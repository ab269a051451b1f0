"""YAML files that people write, read with one-line errors."""

from __future__ import annotations

import math
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from mmrobust.errors import UserError

_MERGE, _TEXT, _FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("merge", "str", "float"))


class _Loader(yaml.SafeLoader):
    """Refuses what is never meant: keys that stand twice or are no text, and NaN and infinity.

    YAML's own loader keeps the last of two keys and says nothing, and takes the keys `on` and `no`
    for true and false.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            if key.tag != _TEXT:
                told = repr(key.value) if isinstance(key, yaml.ScalarNode) else "of a mapping"
                raise _problem(f"key {told} is no text (in quotes it is one)", key)
            if key.value in seen:
                raise _problem(f"key {key.value!r} stands twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_finite(self, node: yaml.ScalarNode) -> float:
        """A number that can be computed with."""
        number = self.construct_yaml_float(node)
        if not math.isfinite(number):
            raise _problem(f"{node.value} is no finite number", node)
        return number


_Loader.add_constructor(_FLOAT, _Loader.construct_finite)


def _problem(told: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, told, node.start_mark)


def read_yaml(path: Path) -> Any:
    """Content of a YAML file; a missing or broken one is a `UserError` naming it."""
    try:
        with path.open(encoding="utf-8") as stream:
            return yaml.load(stream, _Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: file is missing") from None
    except yaml.constructor.ConstructorError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise UserError(f"{path}: {line}{error.problem}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not valid YAML ({error})") from None
