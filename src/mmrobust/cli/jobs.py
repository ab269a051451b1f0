"""Verbs that the jobs of a study run.

They take the part of the configuration that they need as JSON, so that a printed command says all
of an experiment but the thread counts of the numerical libraries, which the pipeline sets in the
environment (`workflow/rules/common.smk`).
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from mmrobust.cli.options import Out, Raw
from mmrobust.errors import UserError
from mmrobust.gpu_slots import one_gpu
from mmrobust.pipeline.code_notes import check_code

app = typer.Typer()

Cfg = Annotated[str, typer.Option(help="Part of the study's configuration, as JSON.")]
Data = Annotated[Path, typer.Option(help="Folder of the prepared dataset.")]
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


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"--cfg: not valid JSON ({error})") from None


def _evaluation(text: str) -> Any:
    """What an evaluation is told, whose cells are kept under the code that it names for each."""
    section = _json(text)
    check_code(section["code"].values())
    return section


def _device(section: Any) -> AbstractContextManager[None]:
    """A GPU of its own for a verb that computes on one."""
    return one_gpu(section.get("device", "cpu"))


def _named_folders(option: str, values: list[str] | None) -> dict[str, Path]:
    found = {}
    for value in values or ():
        name, separator, folder = value.partition("=")
        if not (name and separator and folder):
            raise UserError(f"{option}: {value!r} is not NAME=FOLDER")
        found[name] = Path(folder)
    return found


@app.command()
def download_data(cfg: Cfg, out: Out, raw: Raw = Path("data/raw")) -> None:
    """Fetch and verify a dataset's source archives; what is there is verified and kept."""
    from mmrobust.data.download import download

    section = _json(cfg)
    download(section["name"], section, raw, out)


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
    with _device(section := _evaluation(cfg)):
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
    with _device(section := _evaluation(cfg)):
        run.evaluate_cell(section, folders, cell=cell)


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
