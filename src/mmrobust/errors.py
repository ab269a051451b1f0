"""The one exception that a user is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input, told in one line: what is wrong, where, and what is allowed.

    The command line prints the line and exits with status 2; no traceback is shown.

    Args:
        line: what is wrong.
        remedy: what to do about it, the end of the line.
    """

    def __init__(self, line: str, remedy: str = "") -> None:
        super().__init__(" ".join((f"{line}; {remedy}" if remedy else line).split()))
        self.remedy = remedy


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Error for a name that is not in a fixed set, with the nearest known one."""
    options = sorted(known)
    nearest = difflib.get_close_matches(name, options, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return UserError(f"unknown {kind} {name!r}{hint} (known: {', '.join(options) or 'none'})")
