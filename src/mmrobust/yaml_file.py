"""YAML files that people write, read with one-line errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mmrobust.errors import UserError


def read_yaml(path: Path) -> Any:
    """Content of a YAML file; a missing or broken one is a `UserError` naming it."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: file is missing") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not valid YAML ({error})") from None
