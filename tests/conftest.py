"""What all tests share: one compute thread, and no skipped test that nobody knows of."""

from __future__ import annotations

import importlib.util
import os
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest

for _library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

pytest_plugins = ["pytester"]

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")


class SkipPolicy:
    """Fails the session if a test was skipped for a reason that isn't listed."""

    def __init__(self) -> None:
        lines = ALLOWED_SKIPS.read_text(encoding="utf-8").splitlines()
        self.allowed = [line for line in lines if line and not line.startswith("#")]
        self.unlisted: dict[str, str] = {}

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Keep a skipped test whose reason is not listed."""
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        _, _, message = report.longrepr  # type: ignore[misc]
        reason = str(message).removeprefix("Skipped: ")
        if not any(fnmatch(reason, pattern) for pattern in self.allowed):
            self.unlisted[report.nodeid] = reason

    pytest_runtest_logreport = note
    pytest_collectreport = note

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn success into failure."""
        if self.unlisted and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which skips failed the session."""
        if self.unlisted:
            terminalreporter.section("skips that tests/allowed_skips.txt does not list", red=True)
            for test, reason in self.unlisted.items():
                terminalreporter.line(f"{test}: {reason}")


def pytest_configure(config: pytest.Config) -> None:
    """Register the policy and the markers."""
    config.addinivalue_line("markers", "workflow: runs a whole study; minutes")
    config.pluginmanager.register(SkipPolicy(), "skip_policy")


@pytest.fixture(scope="session")
def made_up() -> ModuleType:
    """The module that makes up a study; test folders are not packages, so it is loaded by path."""
    path = Path(__file__).parent / "figures" / "made_up.py"
    spec = importlib.util.spec_from_file_location("made_up", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
