"""Things done in a fork of the tests' process, which has its modules at hand."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DEADLINE_S = 1000
"""What a fork may take before the system kills it: less than pytest gives to a test."""


@dataclass(frozen=True)
class Ended:
    """How a process ended, and all that it printed."""

    status: int
    told: str

    @property
    def line(self) -> str:
        """The one line of a refusal: status 2, and no traceback."""
        lines = [line for line in self.told.splitlines() if line.startswith("mmrobust: error: ")]
        assert len(lines) == 1, self.told
        assert self.status == 2, self.told
        assert "Traceback" not in self.told, self.told
        return lines[0].removeprefix("mmrobust: error: ")


def in_fork(action: Callable[[], object], folder: Path) -> Ended:
    """Do something in a fork of this process, in a folder, with its output in a file."""
    with tempfile.NamedTemporaryFile("w+", buffering=1, errors="replace") as log:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(DEADLINE_S)
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                sys.stdout = sys.stderr = log
                os.chdir(folder)
                action()
                status = 0
            except SystemExit as ending:
                status = int(ending.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                log.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return Ended(status, Path(log.name).read_text(errors="replace"))
