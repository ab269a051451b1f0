"""The pipeline's own commands, each run in a fork, and what lies in a folder before and after.

A fork has torch and the rest at hand, so that a verb costs what it computes.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

# Loaded once, for the forks.
import open_clip  # noqa: F401
import transformers  # noqa: F401
from tests.forks import Ended, in_fork

import mmrobust.augment.measure
import mmrobust.augment.run
import mmrobust.data.scenes.dataset
import mmrobust.evaluation.run
import mmrobust.report.page
import mmrobust.training.masked_lm
import mmrobust.training.run  # noqa: F401
from mmrobust import cli

Verb = tuple[str, ...]
"""A verb with its options, as the pipeline gives them."""


def run_verb(verb: Verb, folder: Path, *, before: Callable[[], object] | None = None) -> Ended:
    """Run a verb in a folder, after `before` has arranged something in its process."""

    def call() -> None:
        if before is not None:
            before()
        sys.argv = ["mmrobust", *verb]
        cli.main()

    return in_fork(call, folder)


def verbs_of(printed: str) -> list[Verb]:
    """The package's verbs among the shell commands that Snakemake printed, in their order."""
    commands = [line.removeprefix("Shell command: ") for line in printed.splitlines()]
    words = [shlex.split(command) for command in commands if " -m mmrobust " in command]
    return [tuple(line[line.index("mmrobust") + 1 : line.index(">")]) for line in words]


def last_of(verbs: list[Verb], name: str) -> Verb:
    """The verb of a name; of several that of `mat_plus`, or of the set of pictures.

    Snakemake lists jobs that don't depend on each other in any order.
    """
    of_name = [verb for verb in verbs if verb[0] == name]
    chosen = [
        verb
        for verb in of_name
        if any(f"/{last}" in word for word in verb[3:] for last in ("mat_plus", "renderings"))
    ]
    return (chosen or of_name)[-1]


def option(verb: Verb, name: str) -> str:
    """What a verb is given for an option."""
    return verb[verb.index(name) + 1]
