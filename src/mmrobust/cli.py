"""Command line: one verb a pipeline step. `python -m mmrobust VERB --help` tells of each.

Verbs take the part of the configuration that they need as JSON, so that a printed command says all
of an experiment but the thread counts of the numerical libraries, which the pipeline sets in the
environment (`workflow/rules/common.smk`). Heavy imports stand inside the verbs, so that asking for
help costs no torch.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from mmrobust.disk import refusal
from mmrobust.errors import UserError
from mmrobust.gpu_slots import one_gpu

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A reproducible study of how multimodal models break under attack.",
)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"--cfg: not valid JSON ({error})") from None


def _device(section: Any) -> AbstractContextManager[None]:
    """A GPU of its own for a verb that computes on one."""
    return one_gpu(section.get("device", "cpu"))


Cfg = Annotated[str, typer.Option(help="Part of the study's configuration, as JSON.")]
Data = Annotated[Path, typer.Option(help="Folder of the prepared dataset.")]
Out = Annotated[Path, typer.Option(help="What is written.")]
Work = Annotated[Path, typer.Option(help="Folder of resumable work.")]
Model = Annotated[Path, typer.Option(help="Folder of the checkpoint.")]
Cells = Annotated[Path, typer.Option(help="Folder of the cells that are written.")]
MaskedLM = Annotated[
    Path | None, typer.Option(help="Folder of the masked language model of text attacks.")
]
SourceFolders = Annotated[
    list[str] | None,
    typer.Option(help="NAME=FOLDER: a checkpoint that transferred attacks are crafted on."),
]
Raw = Annotated[Path, typer.Option(help="Folder of the source archives.")]


@app.command()
def download_data(cfg: Cfg, out: Out, raw: Raw = Path("data/raw")) -> None:
    """Fetch and verify a dataset's source archives; what is there is verified and kept."""
    from mmrobust.data.download import download

    section = _json(cfg)
    download(section["name"], section, raw, out)


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
def prepare_data(cfg: Cfg, out: Out) -> None:
    """Generate or decode a dataset into memory-mapped arrays and tables."""
    from mmrobust.data import prepare

    prepare.prepare_data(_json(cfg), out=out)


@app.command()
def augment_data(cfg: Cfg, data: Data, out: Out, work: Work) -> None:
    """Make further captions or pictures of the training items; a killed run goes on."""
    from mmrobust.augment import run

    with _device(section := _json(cfg)):
        run.augment_data(section, data=data, out=out, work=work)


@app.command()
def measure_augmentation(
    cfg: Cfg,
    data: Data,
    augmented: Annotated[Path, typer.Option(help="Folder of the augmented set.")],
    judge: Annotated[Path, typer.Option(help="Checkpoint that embeds; none under test.")],
    out: Out,
) -> None:
    """Measure how aligned, diverse and in distribution an augmented set is."""
    from mmrobust.augment import measure

    with _device(section := _json(cfg)):
        measure.measure_augmentation(section, data=data, augmented=augmented, judge=judge, out=out)


@app.command()
def tabulate_augmentations(
    cfg: Cfg,
    measured: Annotated[Path, typer.Option(help="Folder of the measurements.")],
    out: Out,
) -> None:
    """Gather the measurements of all augmented sets of a study into one table."""
    from mmrobust.augment import table

    table.tabulate(_json(cfg), measured=measured, out=out)


@app.command()
def tabulate_sweeps(cfg: Cfg, out: Out) -> None:
    """Write which defence stands for which value of each sweep of a study."""
    from mmrobust import sweep_table

    sweep_table.tabulate(_json(cfg), out=out)


@app.command()
def train_tokenizer(cfg: Cfg, data: Data, out: Out) -> None:
    """Learn the small models' tokenizer from the training split's captions."""
    from mmrobust.training import tokenizer

    tokenizer.train_tokenizer(_json(cfg), data=data, out=out)


@app.command()
def train_masked_lm(cfg: Cfg, data: Data, out: Out) -> None:
    """Train, or fetch, the masked language model that guides attacks on captions."""
    from mmrobust.training import masked_lm

    with _device(section := _json(cfg)):
        masked_lm.train_masked_lm(section, data=data, out=out)


@app.command()
def train_model(
    cfg: Cfg,
    data: Data,
    tokenizer: Annotated[Path, typer.Option(help="File of the small models' tokenizer.")],
    out: Out,
    work: Work,
    initial: Annotated[
        Path | None, typer.Option(help="Folder of the checkpoint to start from.")
    ] = None,
    augmented: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FOLDER: an augmented set that the defence learns from."),
    ] = None,
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Wall time between resumable states.")
    ] = 30.0,
) -> None:
    """Train one defence with one seed; a killed run goes on where its last state was."""
    from mmrobust.training import run

    with _device(section := _json(cfg)):
        run.train_model(
            section,
            data=data,
            tokenizer=tokenizer,
            initial=initial,
            augmented=_named_folders("--augmented", augmented),
            out=out,
            work=work,
            checkpoint_seconds=checkpoint_seconds,
        )


@app.command()
def evaluate_model(
    cfg: Cfg,
    data: Data,
    model: Model,
    cells: Cells,
    examples: Annotated[Path, typer.Option(help="Folder of the examples that are written.")],
    work: Work,
    masked_lm: MaskedLM = None,
    source: SourceFolders = None,
) -> None:
    """Attack one model with every attack of the study and measure recall."""
    from mmrobust.evaluation import run
    from mmrobust.evaluation.keys import Folders

    folders = Folders(
        data=data,
        model=model,
        masked_lm=masked_lm,
        sources=_named_folders("--source", source),
        cells=cells,
        examples=examples,
        work=work,
    )
    with _device(section := _json(cfg)):
        run.evaluate_model(section, folders)


@app.command()
def evaluate_cell(
    cell: Annotated[str, typer.Argument(help="An attack or ensemble, or `clean`.")],
    cfg: Cfg,
    data: Data,
    model: Model,
    cells: Cells,
    work: Work,
    masked_lm: MaskedLM = None,
    source: SourceFolders = None,
) -> None:
    """Compute one cell of a model; it is kept for the evaluation of the whole model."""
    from mmrobust.evaluation import run
    from mmrobust.evaluation.keys import Folders

    folders = Folders(
        data=data,
        model=model,
        masked_lm=masked_lm,
        sources=_named_folders("--source", source),
        cells=cells,
        work=work,
    )
    with _device(section := _json(cfg)):
        run.evaluate_cell(section, folders, cell=cell)


def _named_folders(option: str, values: list[str] | None) -> dict[str, Path]:
    found = {}
    for value in values or ():
        name, separator, folder = value.partition("=")
        if not (name and separator and folder):
            raise UserError(f"{option}: {value!r} is not NAME=FOLDER")
        found[name] = Path(folder)
    return found


@app.command()
def tabulate(
    cells: Annotated[Path, typer.Option(help="Folder of all cells of the study.")],
    out_csv: Annotated[Path, typer.Option(help="Tidy table of every metric.")],
    out_json: Annotated[Path, typer.Option(help="Short summary for `dvc metrics`.")],
    out_flags: Annotated[Path, typer.Option(help="Table of gradient-masking flags.")],
    cfg: Cfg = "{}",
) -> None:
    """Gather all cells of a study into one table."""
    from mmrobust.evaluation.tables import tabulate as gather

    order = _json(cfg)
    gather(cells, out_csv, out_json, out_flags, **order)


@app.command()
def judge_claims(
    cfg: Cfg,
    claims: Annotated[Path, typer.Option(help="The ledger's entries.")],
    cells: Annotated[Path, typer.Option(help="Folder of all cells of the study.")],
    out: Out,
) -> None:
    """Give a verdict on each claim of the study."""
    from mmrobust.claims.ledger import judge_claims as judge

    judge(_json(cfg), claims=claims, cells=cells, out=out)


@app.command()
def draw_figures(
    notebook: Annotated[Path, typer.Argument(help="The notebook that draws.")],
    executed: Annotated[Path, typer.Argument(help="Where it is kept with its outputs.")],
    results: Annotated[Path, typer.Option(help="Results of the study.")],
    out: Annotated[Path, typer.Option(help="Folder of the figures.")],
    title: Annotated[str, typer.Option(help="What stands over the figures.")] = "",
    parts: Annotated[str, typer.Option(help="Further parameters of the notebook, as JSON.")] = "{}",
) -> None:
    """Run one of the notebooks that draw."""
    from mmrobust.figures.notebook import draw_figures as draw

    told = {"results": str(results), "out_dir": str(out), "title": title}
    draw(notebook, executed, told | _json(parts))


@app.command()
def write_report(
    cfg: Cfg,
    results: Annotated[Path, typer.Option(help="Results of the study.")],
    out: Out,
    data: Annotated[Path | None, typer.Option(help="Folder of the prepared dataset.")] = None,
) -> None:
    """Write the study's report: pictures first, then verdicts, tables and facts."""
    from mmrobust.report.page import write_report as write

    write(_json(cfg), results, out, manifest=data and data / "manifest.json")


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


Configfile = Annotated[Path, typer.Option(help="The study's file.")]


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
    """Record in `dvc.lock` what is there of a study, if it is proved; nothing is run."""
    from mmrobust.pipeline.ledger import record as recorded

    for line in recorded(configfile):
        print(line)


@app.command()
def check_ledger(
    study: Annotated[
        list[str] | None, typer.Argument(help="Studies; all that have results if left out.")
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


def main() -> None:
    """Run a verb; bad input, and what the disk refuses, ends in one line and status 2."""
    try:
        app()
    except Exception as error:
        told = error if isinstance(error, UserError) else refusal(error)
        if told is None:
            raise
        print(f"mmrobust: error: {told}", file=sys.stderr)
        raise SystemExit(2) from None
