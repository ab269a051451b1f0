"""The verb `draw-figures`: a notebook that draws, run by papermill."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmrobust.disk import told_clearly
from mmrobust.errors import UserError


def draw_figures(notebook: Path, executed: Path, parameters: Mapping[str, Any]) -> None:
    """Run a notebook from this folder; what its cells print is printed.

    Args:
        notebook: the notebook.
        executed: where it is kept with what its cells put out, whether or not it came to its end.
        parameters: what its cell of parameters is told.

    Raises:
        UserError: as a cell raised it.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        with told_clearly(executed):
            papermill.execute_notebook(
                notebook,
                executed,
                parameters=dict(parameters),
                kernel_name="python3",
                cwd=".",
                progress_bar=False,
                log_output=True,
            )
    except PapermillExecutionError as error:
        if error.ename == UserError.__name__:
            raise UserError(error.evalue) from None
        raise
