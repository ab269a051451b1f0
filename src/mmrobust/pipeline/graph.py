"""Snakemake's graph of a study, built as a run would build it, with nothing run."""

from __future__ import annotations

import contextlib
import difflib
import io
import logging
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from mmrobust.errors import UserError

SNAKEFILE = Path("Snakefile")

MAX_CHECKSUM_FILE_SIZE = 10**12
"""As in the default profile: with a lower limit, files above it would be compared by time."""


MAX_CORES = 10**6
"""More than any job asks for: Snakemake cuts the threads of jobs down to the cores that it has."""


@contextlib.contextmanager
def planned_workflow(configfile: Path, targets: Collection[str] = ()) -> Iterator[Any]:
    """Yield Snakemake's workflow for a study, with its graph built (`workflow.dag`).

    To be called in the project's folder, as Snakemake is.

    Args:
        configfile: The study's file.
        targets: Files or rules that are asked for; the default target if none.

    Raises:
        UserError: There is no project here, or Snakemake refuses the study or a target.
    """
    # Seconds, which only verbs that ask for a graph spend.
    from snakemake.api import SnakemakeApi
    from snakemake.exceptions import MissingRuleException, WorkflowError
    from snakemake.settings.types import (
        ConfigSettings,
        DAGSettings,
        OutputSettings,
        Quietness,
        ResourceSettings,
        StorageSettings,
    )

    for file in (SNAKEFILE, configfile):
        if not file.is_file():
            raise UserError(f"{file}: file is missing (run this in the project's folder)")
    search_path, said = sys.path.copy(), logging.root.manager.disable
    logging.disable(logging.INFO)  # warnings are the user's, progress is not
    output = OutputSettings(quiet={Quietness.ALL}, dryrun=True)
    try:
        with SnakemakeApi(output) as api:
            planned = api.workflow(
                resource_settings=ResourceSettings(cores=MAX_CORES),
                config_settings=ConfigSettings(configfiles=[configfile]),
                storage_settings=StorageSettings(),
                snakefile=SNAKEFILE,
            ).dag(DAGSettings(targets=set(targets), max_checksum_file_size=MAX_CHECKSUM_FILE_SIZE))
            with contextlib.redirect_stdout(io.StringIO()):
                try:
                    planned.printrulegraph()  # the cheapest of the calls that build the graph
                except MissingRuleException as error:
                    rules = [rule.name for rule in planned.workflow_api._workflow.rules]
                    raise _nothing_makes(targets, rules, str(error)) from None
            yield planned.workflow_api._workflow
    except WorkflowError as error:
        raise UserError(str(error)) from None
    finally:
        sys.path[:] = search_path
        logging.disable(said)


def _nothing_makes(targets: Collection[str], rules: Collection[str], said: str) -> UserError:
    """Error for a target that no rule makes, with the nearest one."""
    name = next((target for target in targets if target in said), said)
    nearest = difflib.get_close_matches(name, rules, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return UserError(
        f"no rule makes {name!r}{hint} (allowed: a file of the study, or a target of "
        "docs/pipeline.md)"
    )
