"""What changes a job's fingerprint, and what doesn't, on a made-up package."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from mmrobust.pipeline import fingerprint as lib
from mmrobust.pipeline import registered
from mmrobust.pipeline.fingerprint import FingerprintError, closure, notebook_modules

PACKAGE = {
    "__init__.py": '"""Package."""\n',
    "verb.py": (
        '"""Verb."""\n'
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING\n"
        "import numpy as np\n"
        "from mmrobust.middle import step\n"
        "if TYPE_CHECKING:\n"
        "    import mmrobust.only_for_types\n"
        "def run():\n"
        '    """Run."""\n'
        "    return step(np.pi)  # a comment\n"
    ),
    "middle.py": "def step(x):\n    from mmrobust.deep import leaf\n    return leaf.value + x\n",
    "deep/__init__.py": "",
    "deep/leaf.py": 'import json\nvalue = 1\nTEMPLATE = "page.txt"\nFOLDER = "parts"\n',
    "deep/page.txt": "a page",
    "deep/parts/a.txt": "a part",
    "deep/unused.txt": "of nobody",
    "only_for_types.py": "x = 1\n",
    "unrelated.py": "x = 1\n",
    "attacks/__init__.py": (
        '"""Attacks."""\nfrom collections.abc import Mapping\n'
        'ATTACKS: Mapping[str, str] = {"pgd": "mmrobust.attacks.pgd:PGD"}\n'
    ),
    "attacks/pgd.py": "class PGD:\n    needs: tuple = ('raw', 'words')\n    eps = 1\n",
}


@pytest.fixture
def source(tmp_path) -> Path:
    for name, text in PACKAGE.items():
        path = tmp_path / "mmrobust" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.fixture(autouse=True)
def _forget():
    """Caches live as long as a run of Snakemake, in which neither files nor versions change."""
    for cached in (lib._parsed, lib._version):
        cached.cache_clear()
    yield
    for cached in (lib._parsed, lib._version):
        cached.cache_clear()


def fingerprint(roots: list[str], *, source: Path) -> str:
    return lib.digest_of(lib.parts(roots, source=source))


def edit(source: Path, name: str, old: str, new: str) -> None:
    path = source / "mmrobust" / name
    assert old in path.read_text() or not old
    path.write_text(path.read_text().replace(old, new) if old else new)
    lib._parsed.cache_clear()


def test_closure_follows_imports_and_parents(source):
    assert closure(["mmrobust.verb"], source=source) == {
        "mmrobust",
        "mmrobust.verb",
        "mmrobust.middle",
        "mmrobust.deep",
        "mmrobust.deep.leaf",
    }


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("verb.py", "  # a comment", ""),
        ("verb.py", '"""Run."""', '"""Run it."""'),
        ("verb.py", '"""Verb."""', '"""Verb.\n\nAt length.\n"""'),
        ("verb.py", "np.pi)", "\n        np.pi\n    )"),
        ("only_for_types.py", "1", "2"),
        ("unrelated.py", "1", "2"),
        ("deep/unused.txt", "nobody", "somebody"),
    ],
)
def test_what_does_not_run_does_not_count(source, name, old, new):
    before = fingerprint(["mmrobust.verb"], source=source)
    edit(source, name, old, new)
    assert fingerprint(["mmrobust.verb"], source=source) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("verb.py", "np.pi", "np.e"),
        ("verb.py", "step(np.pi)", "step(str(np.pi))"),
        ("deep/leaf.py", "value = 1", "value = 2"),
        ("deep/__init__.py", "", "x = 1\n"),
        ("__init__.py", '"""Package."""', "x = 1"),
        ("deep/page.txt", "a page", "another page"),
        ("deep/parts/a.txt", "a part", "another part"),
        ("middle.py", "from mmrobust.deep import leaf", "from mmrobust.deep import leaf, leaf"),
    ],
)
def test_what_runs_counts(source, name, old, new):
    before = fingerprint(["mmrobust.verb"], source=source)
    edit(source, name, old, new)
    assert fingerprint(["mmrobust.verb"], source=source) != before


def test_versions_of_imported_distributions_count(source, monkeypatch):
    before = fingerprint(["mmrobust.verb"], source=source)
    lib._version.cache_clear()
    monkeypatch.setattr(lib, "version", lambda name: "0" if name == "pandas" else "1")
    assert lib._versions({"numpy", "pandas"}) == {"numpy": "1", "pandas": "0"}
    changed = fingerprint(["mmrobust.verb"], source=source)
    assert changed != before
    lib._version.cache_clear()
    monkeypatch.setattr(lib, "version", lambda name: "2" if name == "pandas" else "1")
    assert fingerprint(["mmrobust.verb"], source=source) == changed  # pandas isn't imported


def test_a_registry_line_does_not_count_but_the_selected_module_does(source):
    def of(*names: str) -> str:
        modules = registered.modules("mmrobust.attacks:ATTACKS", names, source=source)
        return fingerprint(["mmrobust.verb", "mmrobust.attacks", *modules], source=source)

    before = of("pgd")
    assert of() != before
    new_line = '"sga": "mmrobust.attacks.sga:SGA", "pgd"'
    edit(source, "attacks/__init__.py", '"pgd"', new_line)
    assert of("pgd") == before
    edit(source, "attacks/pgd.py", "eps = 1", "eps = 2")
    assert of("pgd") != before


def test_the_same_code_elsewhere_has_the_same_fingerprint(source, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name, text in PACKAGE.items():
        path = elsewhere / "mmrobust" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    roots = ["mmrobust.verb"]
    assert fingerprint(roots, source=source) == fingerprint(roots, source=elsewhere)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import mmrobust.nowhere\n", "no module 'mmrobust.nowhere'"),
        ("from mmrobust.nowhere import x\n", "no module 'mmrobust.nowhere'"),
        ("from .middle import step\n", "a relative import"),
    ],
)
def test_an_import_that_leads_nowhere_is_an_error(source, code, message):
    edit(source, "verb.py", "", code)
    with pytest.raises(FingerprintError, match=message):
        fingerprint(["mmrobust.verb"], source=source)


def test_a_missing_root_is_an_error(source):
    with pytest.raises(FingerprintError, match=r"no module 'mmrobust.nothing' under "):
        fingerprint(["mmrobust.nothing"], source=source)


def test_an_unknown_name_is_told_with_the_nearest(source):
    with pytest.raises(FingerprintError, match=r"'pdg' is not in ATTACKS .*did you mean 'pgd'\?"):
        registered.modules("mmrobust.attacks:ATTACKS", ["pdg"], source=source)


def test_class_constants_are_read_without_importing(source):
    registry = "mmrobust.attacks:ATTACKS"
    assert registered.class_constant(registry, "pgd", "needs", (), source=source) == (
        "raw",
        "words",
    )
    assert registered.class_constant(registry, "pgd", "other", "none", source=source) == "none"


def test_modules_that_a_notebook_imports(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["import mmrobust.nothing"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "import pandas as pd\n"]},
        {"cell_type": "code", "source": ["from mmrobust.figures.bars import draw\n", "draw()"]},
    ]
    notebook = tmp_path / "a.ipynb"
    notebook.write_text(json.dumps({"cells": cells}))
    assert notebook_modules(notebook) == ["mmrobust.figures.bars"]


@pytest.mark.parametrize("registry", sorted(lib.REGISTRIES))
def test_registries_hold_nothing_that_could_change_a_result(registry, root):
    """They are left out of the hash, so they may hold a docstring, one import and one literal."""
    tree = ast.parse((root / "src").joinpath(*registry.split("."), "__init__.py").read_text())
    documentation, imported, literal = tree.body
    assert isinstance(documentation, ast.Expr)
    assert ast.unparse(imported) == "from collections.abc import Mapping"
    assert isinstance(literal, ast.AnnAssign)
    assert ast.unparse(literal.annotation) == "Mapping[str, str]"
    entries = ast.literal_eval(literal.value)
    for entry in entries.values():
        module, _, name = entry.partition(":")
        assert registry in module
        assert name.isidentifier()
