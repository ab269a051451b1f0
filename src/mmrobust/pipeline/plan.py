"""The verb `plan`: the jobs and cells that a run would make, and how long it may take."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrobust.evaluation.keys import CellKeys, Folders
from mmrobust.evaluation.store import CellStore
from mmrobust.pipeline.graph import planned_workflow
from mmrobust.pipeline.jobs import unnumbered
from mmrobust.pipeline.past_runs import PastRuns
from mmrobust.pipeline.schedule import Task, makespan
from mmrobust.pipeline.why import job_name
from mmrobust.study import load_study

STORE = Path("work/cells")


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A job that would run.

    Fields:
        job: Snakemake's.
        cells: Names of the cells that it would compute; of an evaluation, those not in the store.
        seconds: As long as it took before; None if nothing like it has run.
    """

    job: Any
    cells: tuple[str, ...]
    seconds: float | None


def plan(configfile: Path, targets: Collection[str], *, cores: int, gpus: int = 1) -> list[str]:
    """Say what a run would do.

    Args:
        configfile: The study's file.
        targets: Files or rules; the whole study if there are none.
        cores: On which it would run.
        gpus: The same.

    Returns:
        Lines to print.
    """
    study = load_study(configfile).study
    past = PastRuns(study)
    with planned_workflow(configfile, targets) as workflow:
        dag = workflow.dag
        levels = [sorted(level, key=job_name) for level in dag.toposorted()]
        every = [job for level in levels for job in level if job.output]
        planned = [_planned(job, dag, past) for job in every if dag.needrun(job)]
        tasks = [_task(of, dag) for of in planned]
    if not planned:
        return [f"{study}: nothing would run, all is up to date"]
    unknown = [of for of in planned if of.seconds is None]
    head = f"{study}: {len(planned)} of {len(every)} jobs would run"
    if len(unknown) < len(planned):
        head += f", about {_shown(makespan(tasks, cores=cores, gpus=gpus))} on {cores} cores"
    if len(unknown) == len(planned):
        head += "; nothing like them has run here yet, so how long it takes is not known"
    elif unknown:
        head += f"; {len(unknown)} of a kind that hasn't run here yet are not in that time"
    return [head, *_rules(planned), *_cells(planned)]


def _planned(job: Any, dag: Any, past: PastRuns) -> Planned:
    if not job.rule.name.startswith("evaluate_"):
        return Planned(job=job, cells=(), seconds=past.job(Path(job.benchmark)))
    cells = tuple(_missing(job, dag))
    of = job.wildcards_dict
    return Planned(job=job, cells=cells, seconds=past.cells(of["defence"], of["seed"], cells))


def _missing(job: Any, dag: Any) -> Iterator[str]:
    """Yield the cells of an evaluation that are not in the store."""
    cfg = json.loads(job.params.cfg)
    made_again = any(dag.needrun(of) for of in dag.dependencies[job])
    if made_again:
        yield from cfg["code"]
        return
    folders = Folders(
        data=Path(job.params.data),
        model=Path(job.params.model),
        masked_lm=next((Path(of) for of in job.params.masked_lm[1:]), None),
        sources={
            name: Path(folder)
            for name, _, folder in (of.partition("=") for of in job.params.sources[1::2])
        },
        cells=Path(job.params.out),
        work=STORE,
    )
    keys, store = CellKeys(cfg, folders), CellStore(STORE)
    for name in cfg["code"]:
        if not store.path(keys.inputs(name)).is_file():
            yield name


def _task(of: Planned, dag: Any) -> Task:
    return Task(
        name=of.job,
        after=frozenset(job for job in dag.dependencies[of.job] if dag.needrun(job)),
        seconds=of.seconds or 0.0,
        cores=of.job.threads,
        gpus=of.job.resources.get("gpu", 0),
        priority=of.job.rule.priority,
    )


def _rules(planned: Sequence[Planned]) -> Iterator[str]:
    """Yield a line a rule: how many of its jobs, and the time of all of them."""
    by_rule: dict[str, list[Planned]] = {}
    for of in planned:
        by_rule.setdefault(unnumbered(of.job.rule.name), []).append(of)
    width = max(map(len, by_rule))
    yield "jobs:"
    for rule, jobs in by_rule.items():
        known = [of.seconds for of in jobs if of.seconds is not None]
        time = _shown(sum(known)) if known else "not run here yet"
        yield f"  {rule:<{width}}  {len(jobs):>4}  {time}"


def _cells(planned: Sequence[Planned]) -> Iterator[str]:
    """Yield the models by the cells that would be computed of them."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for of in planned:
        if of.cells:
            name = job_name(of.job).partition(" ")[2]
            alike.setdefault(of.cells, []).append(name)
    if not alike:
        return
    yield f"cells, {sum(len(cells) * len(of) for cells, of in alike.items())} in all:"
    for cells, models in alike.items():
        yield f"  {', '.join(models)}: {', '.join(cells)}"


def _shown(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
