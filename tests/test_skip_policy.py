"""A skipped test fails the session unless its reason is listed."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    policy = (HERE / "skip_policy.py").read_text()
    pytester.makeconftest(policy)
    pytester.path.joinpath("allowed_skips.txt").write_text("# comment\nno GPU\nneeds *\n")
    return pytester


@pytest.mark.parametrize("reason", ["no GPU", "needs data"])
def test_listed_reasons_pass(project, reason):
    project.makepyfile(f"import pytest\ndef test_a(): pytest.skip({reason!r})")
    assert project.runpytest().ret == 0


@pytest.mark.parametrize(
    "code",
    [
        "def test_a(): pytest.skip('no time')",
        "@pytest.mark.skip(reason='no time')\ndef test_a(): pass",
        "pytest.skip('no time', allow_module_level=True)",
        "@pytest.fixture\ndef data(): pytest.skip('no time')\ndef test_a(data): pass",
    ],
)
@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "a worker"])
def test_other_reasons_fail_and_are_printed(project, code, workers):
    project.makepyfile(f"import pytest\ndef test_b(): pass\n{code}", test_more="def test_c(): pass")
    result = project.runpytest(*workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*skips that tests/allowed_skips.txt does not list*"])
    result.stdout.fnmatch_lines(["*: no time"])


def test_expected_failures_are_no_skips(project):
    project.makepyfile("import pytest\n@pytest.mark.xfail(reason='why')\ndef test_a(): assert 0")
    assert project.runpytest().ret == 0
