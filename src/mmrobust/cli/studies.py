"""Verbs that people run: they check, plan, explain, record, restore, compare and publish."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mmrobust.cli.options import Out, Raw

app = typer.Typer()

Configfile = Annotated[Path, typer.Option(help="The study's file.")]


@app.command()
def import_data(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset, or `lexicon`.")],
    source: Annotated[Path, typer.Argument(help="Folder that holds the official files.")],
    raw: Raw = Path("data/raw"),
    accept_new_checksums: Annotated[
        bool, typer.Option(help="Take files other than those the recorded results are from.")
    ] = False,
) -> None:
    """Check source archives that you have and link them into the place the pipeline reads."""
    from mmrobust.data.raw import import_data as link

    link(dataset, source, raw, accept_new_checksums=accept_new_checksums)


@app.command()
def publish_results(
    results: Annotated[Path, typer.Option(help="Results of a finished study.")],
    out: Annotated[Path, typer.Option(help="Folder of its results of record.")],
    about: Annotated[str, typer.Option(help="How it was run, in one line.")] = "",
) -> None:
    """Write a finished study's tables of record: a page of all numbers, tables and figures."""
    from mmrobust.report.publish import publish_results as publish

    publish(results, out, about=about)


@app.command()
def compare(
    here: Annotated[Path, typer.Argument(help="Results of a run, or its metrics.csv.")],
    there: Annotated[
        Path | None,
        typer.Argument(help="Those of another run; the results of record if left out."),
    ] = None,
    metric: Annotated[str, typer.Option(help="Metric whose cells are printed.")] = "recall_at_k",
    k: Annotated[int, typer.Option(help="Its cut-off.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Table of all measures, a CSV; none if left out.")
    ] = None,
) -> None:
    """Set two runs beside each other, cell by cell."""
    from mmrobust.report.comparison import compare as set_beside
    from mmrobust.report.comparison import write_comparison

    comparison = set_beside(here, there)
    if out is not None:
        write_comparison(out, comparison)
    for line in comparison.lines(metric=metric, k=k):
        print(line)


@app.command()
def check_config(
    file: Annotated[Path, typer.Argument(help="A study's configuration.")],
    claims: Annotated[Path, typer.Option(help="The entries that it names.")] = Path(
        "config/claims.yaml"
    ),
) -> None:
    """Check a configuration without running anything."""
    from mmrobust.claims.planning import check_claims
    from mmrobust.configured import check_configured
    from mmrobust.study import load_study

    study = load_study(file)
    warnings = check_claims(study, claims, str(file))
    check_configured(study, str(file))
    for line in warnings:
        print(f"mmrobust: warning: {line}", file=sys.stderr)
    print(f"{file}: study {study.study!r} is well-formed")


@app.command()
def why(
    target: Annotated[str, typer.Argument(help="A file or a rule; `all` for the whole study.")],
    configfile: Configfile = Path("config/scenes.yaml"),
) -> None:
    """Say which input, parameter or module makes a target stale."""
    from mmrobust.pipeline.why import why as explained

    for line in explained(configfile, target):
        print(line)


@app.command()
def plan(
    targets: Annotated[
        list[str] | None, typer.Argument(help="Files or rules; the whole study if left out.")
    ] = None,
    configfile: Configfile = Path("config/scenes.yaml"),
    cores: Annotated[int | None, typer.Option(help="Cores; all if left out.", min=1)] = None,
    gpus: Annotated[int, typer.Option(help="GPUs.", min=0)] = 1,
) -> None:
    """Say which jobs and cells a run would make, and how long it may take; nothing is run."""
    from mmrobust.pipeline.plan import plan as planned

    cores = cores or len(os.sched_getaffinity(0))
    for line in planned(configfile, targets or (), cores=cores, gpus=gpus):
        print(line)


@app.command()
def report_so_far(configfile: Configfile = Path("config/scenes.yaml")) -> None:
    """Write a report of what is there of a study, with the rest marked as missing."""
    from mmrobust.pipeline.so_far import report_so_far as written

    print(written(configfile))


@app.command()
def record(configfile: Configfile = Path("config/scenes.yaml")) -> None:
    """Record in `dvc.lock` what is there of a study, if it is proved; nothing is run.

    It fails if something is refused; what was recorded stays.
    """
    from mmrobust.pipeline.ledger import REFUSED
    from mmrobust.pipeline.ledger import record as recorded

    refused = False
    for line in recorded(configfile):
        print(line)
        refused |= line.startswith(REFUSED)
    if refused:
        raise SystemExit(1)


@app.command()
def check_ledger(
    study: Annotated[
        list[str] | None,
        typer.Argument(help="Studies; all with committed results if left out."),
    ] = None,
) -> None:
    """Say what of `dvc.lock` is not in step with configuration and code; needs no data."""
    from mmrobust.pipeline.in_step import out_of_step

    findings = out_of_step(study or ())
    for line in findings:
        print(line, file=sys.stderr)
    if findings:
        raise SystemExit(1)
    print("dvc.lock is in step with configuration and code")


@app.command()
def restore(
    configfile: Configfile = Path("config/scenes.yaml"),
    remote: Annotated[
        str | None, typer.Option(help="DVC remote; the default one if left out.")
    ] = None,
) -> None:
    """Fetch a recorded study, check every byte of it, and make it count as made."""
    from mmrobust.pipeline.restore import restore as restored

    print(restored(configfile, remote=remote))


@app.command()
def write_jobs(configfile: Configfile = Path("config/scenes.yaml")) -> None:
    """Write the digests of a study's jobs, which the ledger compares."""
    from mmrobust.pipeline.jobs import write_jobs as written

    written(configfile)


@app.command()
def write_schema(out: Out = Path("src/mmrobust/study.schema.json")) -> None:
    """Generate the schema of configurations from the classes that they configure."""
    from mmrobust.artifacts import write_json
    from mmrobust.schema import study_schema

    write_json(out, study_schema())
