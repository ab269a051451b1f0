"""A hash of the code that a job runs: what its modules mean, not how they are laid out.

It covers the import closure of some root modules inside one package, as parsed code without
comments and docstrings, files beside the modules that the code names (templates), and the version
of every third-party distribution that the closure imports. Imports inside functions count, those
under `TYPE_CHECKING` don't. Nothing is imported to find out.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

PACKAGE = "mmrobust"

# Registries name all attacks, datasets and methods. A job depends on those that its configuration
# selects (`registered.py`), so the list itself stays out of the hash.
REGISTRIES = frozenset(f"{PACKAGE}.{name}" for name in ("attacks", "augment", "data", "training"))


class FingerprintError(Exception):
    """A module or a registered name that isn't there."""


def parts(roots: Iterable[str], *, source: Path) -> dict[str, str]:
    """List what a fingerprint covers.

    Args:
        roots: Dotted names of modules of the package.
        source: The folder that holds the package (`src`).

    Returns:
        A digest by the name of each module and of each file beside one, and a version by the name
        of each distribution and of Python.

    Raises:
        FingerprintError: A root, or a module that one imports, has no file.
    """
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in closure(roots, source=source):
        module = _parsed(name, source)
        found |= _versions(module.third_party)
        if name not in REGISTRIES:
            found[name] = module.digest
            for path in module.named_files:
                found[path.relative_to(source).as_posix()] = _hash(path.read_bytes())
    return dict(sorted(found.items()))


def edited_modules(
    covered: Iterable[Mapping[str, str]], *, source: Path, since: float = 0.0
) -> list[str]:
    """List the modules, and files beside them, that are not as some fingerprints covered them.

    Args:
        covered: What `parts` listed, of each.
        source: The folder that holds the package (`src`).
        since: When they were as covered; files that weren't written since needn't be read again.
    """
    noted = {
        (name, value)
        for parts in covered
        for name, value in parts.items()
        if name.startswith((f"{PACKAGE}/", f"{PACKAGE}.")) or name == PACKAGE
    }
    return sorted(
        {
            name
            for name, value in noted
            if _written_since(name, source, since) and _digest_now(name, source) != value
        }
    )


def _written_since(name: str, source: Path, since: float) -> bool:
    """Whether a module or a file beside one was written after some time, or is gone."""
    files = [source / name] if "/" in name else _found(name, source)
    return not files or any(not file.exists() or file.stat().st_ctime >= since for file in files)


def _digest_now(name: str, source: Path) -> str | None:
    """Digest a module or a file beside one as it is now; None if it isn't there."""
    if "/" in name:
        path = source / name
        return _hash(path.read_bytes()) if path.is_file() else None
    return _Module(name, source).digest if _found(name, source) else None


def digest_of(parts: Mapping[str, str]) -> str:
    """Hash what `parts` lists, into 16 hexadecimal digits: equal for the same code anywhere."""
    lines = "".join(f"{name} {value}\n" for name, value in sorted(parts.items()))
    return _hash(lines.encode())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def closure(roots: Iterable[str], *, source: Path) -> frozenset[str]:
    """List the modules of the package that some of its modules import, directly or not."""
    waiting = [name for root in roots for name in _with_parents(root)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_parsed(name, source).imports)
    return frozenset(found)


def notebook_modules(path: Path) -> list[str]:
    """List the modules of the package that the code cells of a notebook import."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    lines = [line for source in sources for line in source.splitlines()]
    code = "\n".join("pass" if line.startswith(("%", "!")) else line for line in lines)
    found = {name for name, is_module in _imported(ast.parse(code), str(path)) if is_module}
    return sorted(name for name in found if name.split(".")[0] == PACKAGE)


class _Module:
    """What one file of the package holds that matters to the hash."""

    def __init__(self, name: str, source: Path) -> None:
        path = module_file(name, source)
        tree = _Meaning().visit(ast.parse(path.read_bytes(), filename=str(path)))
        self.digest = _hash(ast.dump(tree).encode())
        self.imports: set[str] = set()
        self.third_party: set[str] = set()
        self.named_files = sorted(set(_named_files(tree, path.parent)))
        for imported, is_module in _imported(tree, name):
            top = imported.split(".")[0]
            if top == PACKAGE:
                owner = imported if is_module or _found(imported, source) else _parent(imported)
                self.imports.update(_with_parents(owner))
            elif top not in sys.stdlib_module_names:
                self.third_party.add(top)


@cache
def _parsed(name: str, source: Path) -> _Module:
    return _Module(name, source)


class _Meaning(ast.NodeTransformer):
    """Drops what has no effect at run time: bare strings and imports for type checkers."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        bare = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return ast.Pass() if bare else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        name = node.test.attr if isinstance(node.test, ast.Attribute) else None
        name = node.test.id if isinstance(node.test, ast.Name) else name
        return (node.orelse or ast.Pass()) if name == "TYPE_CHECKING" else node


def _imported(tree: ast.AST, module: str) -> Iterator[tuple[str, bool]]:
    """Yield what is imported, and whether it must be a module or may be something in one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, True) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise FingerprintError(f"{module}: line {node.lineno}: a relative import")
            yield node.module, True
            yield from ((f"{node.module}.{alias.name}", False) for alias in node.names)


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _found(name: str, source: Path) -> list[Path]:
    base = source.joinpath(*name.split("."))
    return [path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()]


def module_file(name: str, source: Path) -> Path:
    """Find the file of a module of the package; `FingerprintError` if there is none."""
    found = _found(name, source)
    if not found:
        raise FingerprintError(f"no module {name!r} under {source.name}/")
    return found[0]


def _named_files(tree: ast.AST, folder: Path) -> Iterator[Path]:
    """Find the data files beside a module, or folders of them, that its code names."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        parts = Path(node.value).parts if len(node.value) < 100 and "\0" not in node.value else ()
        if not parts or Path(node.value).is_absolute() or ".." in parts:
            continue
        path = folder / node.value
        if path.is_file() and path.suffix != ".py":
            yield path
        elif path.is_dir() and not any(path.rglob("*.py")):
            yield from (file for file in path.rglob("*") if file.is_file())


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


def _versions(names: Iterable[str]) -> dict[str, str]:
    known = _distributions()
    return {
        distribution: _version(distribution)
        for name in names
        for distribution in known.get(name, ())
    }


@cache
def _version(distribution: str) -> str:
    return version(distribution)
