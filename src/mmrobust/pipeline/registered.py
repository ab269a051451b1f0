"""What the package's registries say, read from their source: planning a study imports no torch."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmrobust.pipeline.fingerprint import FingerprintError, module_file


def modules(registry: str, names: Iterable[str], *, source: Path) -> list[str]:
    """Look up the modules behind registered names.

    Args:
        registry: `"package.module:NAME"` of a literal that maps a name to `"module:Class"`.
        names: The names that a configuration selects.
        source: The folder that holds the package (`src`).

    Raises:
        FingerprintError: The registry, or a name in it, isn't there.
    """
    return [_entry(registry, name, source)[0] for name in names]


def class_constant(registry: str, name: str, constant: str, default: Any, *, source: Path) -> Any:
    """Read a class variable, written as a literal, of a registered class.

    Args:
        registry: As for `modules`.
        name: The registered name.
        constant: The class variable.
        default: What to return for a class without it.
        source: The folder that holds the package.
    """
    module, class_name = _entry(registry, name, source)
    for node in ast.parse(module_file(module, source).read_bytes()).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            return _literal(node.body, constant, default)
    raise FingerprintError(f"{module} defines no class {class_name}, which {registry} names")


def _entry(registry: str, name: str, source: Path) -> tuple[str, str]:
    module, variable = registry.split(":")
    entries = _literal(ast.parse(module_file(module, source).read_bytes()).body, variable, {})
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        known = ", ".join(sorted(entries)) or "none"
        raise FingerprintError(f"{name!r} is not in {variable} of {module} (known: {known}){hint}")
    module, _, class_name = entries[name].partition(":")
    return module, class_name


def _literal(body: list[ast.stmt], variable: str, default: Any) -> Any:
    for node in body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == variable for target in targets):
            return ast.literal_eval(value)
    return default
