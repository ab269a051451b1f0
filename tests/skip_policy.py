"""No skipped test that nobody knows of, whether tests run in one process or several."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")
UNLISTED = "unlisted_skips"
"""Under which a worker tells of skips that are not listed."""


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

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker noted: modules that it skipped are told by it alone."""
        self.unlisted |= getattr(node, "workeroutput", {}).get(UNLISTED, {})

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn success into failure."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[UNLISTED] = self.unlisted
        elif self.unlisted and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which skips failed the session."""
        if self.unlisted:
            terminalreporter.section("skips that tests/allowed_skips.txt does not list", red=True)
            for test, reason in self.unlisted.items():
                terminalreporter.line(f"{test}: {reason}")


def pytest_configure(config: pytest.Config) -> None:
    """Register the policy."""
    config.pluginmanager.register(SkipPolicy(), "skip_policy")
