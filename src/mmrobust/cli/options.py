"""Options that verbs of both kinds take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option(help="What is written.")]
Raw = Annotated[Path, typer.Option(help="Folder of the source archives.")]
