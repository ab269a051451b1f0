"""What lies in a folder before and after."""

from __future__ import annotations

import os
from pathlib import Path

Files = dict[str, bytes]
"""Path -> content; a link's is where it leads, a folder's is empty and its path ends in `/`."""


def files(folder: Path, *, but: str = "") -> Files:
    """All that lies in a folder, `but` for what lies under one of its folders."""
    found: Files = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if but and name.split(os.sep)[0] == but:
            continue
        if path.is_symlink():
            found[name] = os.readlink(path).encode()
        elif path.is_dir():
            found[f"{name}/"] = b""
        else:
            found[name] = path.read_bytes()
    return found


def differing(before: Files, after: Files) -> list[str]:
    """The names of what came, went or changed."""
    return sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
