"""Small CSV tables, read strictly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mmrobust.errors import UserError


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]] | None:
    """The rows of a CSV table as text; None if there is no file.

    Raises:
        UserError: not a table, or a column is missing.
    """
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a CSV table ({error})") from None
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise UserError(f"{path}: column missing: {', '.join(absent)}")
    return [
        {str(key): str(value) for key, value in row.items()} for row in table.to_dict("records")
    ]
