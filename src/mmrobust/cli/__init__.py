"""Command line: `python -m mmrobust VERB --help` tells of each verb.

Heavy imports stand inside the verbs, so that asking for help costs no torch.
"""

from __future__ import annotations

import os
import sys

import typer

from mmrobust.cli import jobs, studies
from mmrobust.disk import refusal
from mmrobust.errors import UserError
from mmrobust.pipeline.code_notes import check_code

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A reproducible study of how multimodal models break under attack.",
)
app.add_typer(studies.app)
app.add_typer(jobs.app)


def main() -> None:
    """Run a verb; bad input, and what the disk refuses, ends in one line and status 2."""
    try:
        check_code(os.environ.get("MMROBUST_CODE", "").split())
        app()
    except Exception as error:
        told = error if isinstance(error, UserError) else refusal(error)
        if told is None:
            raise
        print(f"mmrobust: error: {told}", file=sys.stderr)
        raise SystemExit(2) from None
