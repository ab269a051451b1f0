"""What no committed file may hold: addresses of package indexes, and paths of one machine."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MB = 2**20

# Put together from pieces, so that this file doesn't hold what it looks for.
FORBIDDEN = {
    "address of a package index": re.compile(
        "|".join(
            re.escape(name)
            for name in (
                "pypi" + ".org",
                "python" + "hosted.org",
                "pypi" + ".python.org",
                "download." + "pytorch.org",
                "conda." + "anaconda.org",
                "/sim" + "ple/",
                "--index" + "-url http",
                "--extra-index" + "-url",
                "--find" + "-links /",
            )
        ),
        re.IGNORECASE,
    ),
    "file address": re.compile("file" + "://", re.IGNORECASE),
    "absolute path of a machine": re.compile(
        r"(?<![\w.~$})/-])/(?:" + "|".join(["work", "root", "home", "Users", "mnt"]) + r")/[\w.]"
        r"|(?<![\w.$})/-])/" + "tmp/w/"
    ),
}
UPWARD = re.compile(r"(?<![\w./])(?:[\w.-]+/)*\.\./[\w./-]*")

# The one committed place that knows where the real data for the tests may lie.
UPWARD_ALLOWED = {".ci/run": {"../shared/data"}}


def tracked() -> list[str]:
    command = ["git", "ls-files", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.fail(f"git doesn't list the project's files: {error}")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def lines_of_tree() -> list[tuple[str, int, str]]:
    found = []
    for name in tracked():
        content = (ROOT / name).read_bytes()
        if b"\0" not in content[:8192]:
            text = content.decode("utf-8", errors="replace")
            found += [(name, number, line) for number, line in enumerate(text.splitlines(), 1)]
    return found


@pytest.fixture(scope="module")
def lines() -> list[tuple[str, int, str]]:
    return lines_of_tree()


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what, lines):
    found = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, number, line in lines
        if FORBIDDEN[what].search(line)
    ]
    assert not found, f"{what}:\n" + "\n".join(found)


def test_no_relative_path_leads_out_of_the_project(lines):
    found = [
        f"{name}:{number}: {path}"
        for name, number, line in lines
        for path in UPWARD.findall(line)
        if leads_out(name, path) and path not in UPWARD_ALLOWED.get(name, ())
    ]
    assert not found, "\n".join(found)


def leads_out(name: str, path: str) -> bool:
    return os.path.normpath(os.path.join(os.path.dirname(name), path)).startswith("..")


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("docs/a.md", "../README.md", False),
        ("docs/a.md", "../" * 2 + "README.md", True),
        ("README.md", "../shared", True),
        ("workflow/rules/report.smk", "../report/report.rst", False),
    ],
)
def test_leading_out_is_judged_from_the_file_that_says_it(name, path, expected):
    assert leads_out(name, path) is expected


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("address of a package index", "see https://pypi" + ".org/project/x"),
        ("file address", "@ file" + ":///x"),
        ("absolute path of a machine", "open('/ho" + "me/me/data')"),
        ("absolute path of a machine", "PATH=/ro" + "ot/.cache"),
        ("absolute path of a machine", "cd /wo" + "rk/main"),
    ],
)
def test_the_search_finds_what_it_looks_for(what, line):
    assert FORBIDDEN[what].search(line)


@pytest.mark.parametrize("line", ["results/work/x", "the /work folder", "a/home/b", "work/train"])
def test_the_search_passes_what_is_no_path_of_a_machine(line):
    assert not FORBIDDEN["absolute path of a machine"].search(line)


def test_no_file_is_large():
    large = {name: (ROOT / name).stat().st_size for name in tracked()}
    assert not {name: size for name, size in large.items() if size > MB}


@pytest.mark.parametrize("lock", sorted(path.name for path in ROOT.glob("requirements*.lock")))
def test_locks_pin_every_version_with_hashes(lock):
    """Each requirement is `name==version` followed by at least one sha256, and nothing else is."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    requirement = re.compile(r"[\w.-]+==[\w.+!]+( ; [^-]+)?( +--hash=sha256:[0-9a-f]{64})+ *")
    assert len(lines) > 0
    assert [line for line in lines if not requirement.fullmatch(line)] == []


def test_the_extras_have_the_versions_of_the_study_but_for_one():
    """Another version could make other bytes; this one reads dates."""
    pins = [
        dict(re.findall(r"^([\w.-]+)==([\w.+!]+)", (ROOT / lock).read_text(), flags=re.MULTILINE))
        for lock in ("requirements.lock", "requirements-extras.lock")
    ]
    others = {name for name in pins[0].keys() & pins[1].keys() if pins[0][name] != pins[1][name]}
    assert others == {"python-dateutil"}


def test_locks_cover_what_the_project_asks_for():
    text = (ROOT / "requirements.lock").read_text()
    for name in ("torch", "torchvision", "snakemake", "dvc", "papermill", "pytest"):
        assert re.search(rf"^{name}==", text, flags=re.MULTILINE)
