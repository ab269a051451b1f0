"""Progress bars on stderr: lively on a terminal, sparse in a log."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(**settings: Any) -> tqdm[Any]:
    """A bar of tqdm with its own `settings` (total, unit, desc, initial, ...)."""
    return tqdm(file=sys.stderr, mininterval=0.5 if sys.stderr.isatty() else 10, **settings)
