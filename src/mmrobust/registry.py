"""Names to classes, imported when they are asked for.

A registry is the literal in a package's `__init__.py`: `{"pgd": "mmrobust.attacks.pgd:PGD"}`.
Importing lazily keeps start-up light and lets the code fingerprint of a job cover just the
modules that its configuration selects.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TypeVar

from mmrobust.errors import unknown_name

T = TypeVar("T")


def resolve(registry: Mapping[str, str], name: str, *, kind: str, base: type[T]) -> type[T]:
    """Class registered under `name`, a subclass of `base`.

    Raises:
        UserError: there is none of that name; the nearest known one is told.
    """
    if name not in registry:
        raise unknown_name(kind, name, registry)
    module, _, attribute = registry[name].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise TypeError(f"{registry[name]} is registered as a {kind} but is no {base.__name__}")
    return found
