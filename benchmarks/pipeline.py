"""What the pipeline costs beside the verbs' own work: planning, doing nothing, running a study.

All is measured in a fresh clone of the commit that is checked out, with the environment that runs
this script. `overhead_share` is the part of a run's wall time by which it exceeds the shortest that
the verbs' own work allows on as many cores, in the order that the graph allows: Snakemake's start
and scheduling, the start of each job's Python, the imports of its verb, the start of a notebook's
kernel, and the ledger. A job's own work is its wall time less that of a process that does no more
than this, beside as many others as there are cores.

Progress goes to stderr; the last line on stdout is one JSON object. Times are in seconds, medians
of rounds where something is repeated. What is over its limit is told, and the exit status is 1.

Usage: python benchmarks/pipeline.py [--study scenes] [--cores 2] [--cells 500] [--rounds 5]
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import csv
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mmrobust.parts import cells_on
from mmrobust.pipeline.graph import planned_workflow
from mmrobust.pipeline.schedule import Task, makespan
from mmrobust.study import load_study

ROOT = Path(__file__).parents[1]

LIMITS = {"noop_s": 4.0, "plan_s": 5.0, "overhead_share": 0.15}

EMPTY_NOTEBOOK = """
import nbformat, papermill, sys
from mmrobust.figures import notebook
cells = [nbformat.v4.new_code_cell("import mmrobust.figures.style")]
metadata = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), sys.argv[1])
papermill.execute_notebook(sys.argv[1], sys.argv[1], progress_bar=False)
"""


def measure(study: str, *, cores: int, cells: int, rounds: int) -> dict[str, object]:
    """Run a study in a fresh clone and time what isn't work.

    Args:
        study: which one is run.
        cores: on which it runs.
        cells: of the study that is planned, at least.
        rounds: repetitions of what takes seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        os.environ["PYTHONPATH"] = str(clone / "src")
        large = of_cells(clone, study, cells)
        plan = median_of(rounds, lambda: snakemake(clone, large, "--dry-run", "--cores", "1"))
        run = snakemake(clone, f"config/{study}.yaml", "--cores", str(cores))
        noop = median_of(
            rounds, lambda: snakemake(clone, f"config/{study}.yaml", "--cores", str(cores))
        )
        with contextlib.chdir(clone):
            shortest, own, jobs = shortest_run(study, cores=cores)
            planned = load_study(Path(large))
        return {
            "study": study,
            "cores": cores,
            "jobs": jobs,
            "run_s": round(run, 1),
            "own_work_s": round(own, 1),
            "shortest_s": round(shortest, 1),
            "overhead_share": round(1 - shortest / run, 4),
            "noop_s": round(noop, 2),
            "planned_cells": sum(
                len(cells_on(planned, name)) * len(planned.seeds) for name in planned.defences
            ),
            "plan_s": round(plan, 2),
            "rounds": rounds,
        }


def snakemake(clone: Path, config: str, *arguments: str) -> float:
    """Wall time of Snakemake on a study, from its start to its end."""
    command = [sys.executable, "-m", "snakemake", "--configfile", config, "--quiet", "all"]
    started = time.perf_counter()
    subprocess.run([*command, *arguments], cwd=clone, check=True, stdout=subprocess.DEVNULL)
    took = time.perf_counter() - started
    print(f"snakemake {config} {' '.join(arguments)}: {took:.1f} s", file=sys.stderr)
    return took


def median_of(rounds: int, call: Any) -> float:
    """Median of what a call returns, over some rounds."""
    return statistics.median(call() for _ in range(rounds))


def of_cells(clone: Path, study: str, cells: int) -> str:
    """Write a study with as many training seeds as it takes for some number of cells."""
    config = yaml.safe_load((clone / "config" / f"{study}.yaml").read_text(encoding="utf-8"))
    laid_out = load_study(clone / "config" / f"{study}.yaml")
    of_a_seed = sum(len(cells_on(laid_out, name)) for name in laid_out.defences)
    config |= {"study": "large", "seeds": list(range(math.ceil(cells / of_a_seed)))}
    path = clone / "config" / "large.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return str(path.relative_to(clone))


def shortest_run(study: str, *, cores: int) -> tuple[float, float, int]:
    """The wall time that a finished study's own work allows; the work itself; how many jobs."""
    with planned_workflow(Path("config") / f"{study}.yaml") as workflow:
        dag = workflow.dag
        jobs = [job for level in dag.toposorted() for job in level if job.output]
        tasks = [
            Task(
                name=job,
                after=frozenset(dag.dependencies[job]),
                seconds=max(
                    0.0, wall_time(Path(job.benchmark)) - start_of(job.rule.shellcmd, cores)
                ),
                cores=job.threads,
                priority=job.rule.priority,
            )
            for job in jobs
        ]
    own = sum(task.seconds for task in tasks)
    return makespan(tasks, cores=cores, gpus=1), own, len(tasks)


def wall_time(benchmark: Path) -> float:
    """A job's wall time, as Snakemake took it."""
    with benchmark.open(encoding="utf-8", newline="") as stream:
        return float(list(csv.DictReader(stream, delimiter="\t"))[-1]["s"])


def start_of(command: str, cores: int) -> float:
    """Wall time of a process that starts as a job's command does, and ends."""
    [verb] = re.findall(r"python -m mmrobust (\S+)", command)
    return start_of_verb(verb, cores)


@cache
def start_of_verb(verb: str, cores: int) -> float:
    """The same of a verb; `cores` of them are started at once."""
    code = "\n".join(f"import {module}" for module in imported_by(verb))
    if verb == "draw-figures":
        code = EMPTY_NOTEBOOK
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3):
            started = time.perf_counter()
            processes = [
                subprocess.Popen([sys.executable, "-c", code, f"{folder}/{number}.ipynb"])
                for number in range(cores)
            ]
            if any([process.wait() for process in processes]):
                raise SystemExit(f"{verb}: can't be started")
            times.append(time.perf_counter() - started)
    found = statistics.median(times)
    print(f"start of {verb}: {found:.1f} s", file=sys.stderr)
    return found


def imported_by(verb: str) -> list[str]:
    """Modules that a verb of the command line imports, and the command line itself."""
    path = ROOT / "src" / "mmrobust" / "cli" / "jobs.py"
    functions = {
        node.name: node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    found = ["mmrobust.cli"]
    for node in ast.walk(functions[verb.replace("-", "_")]):
        if isinstance(node, ast.ImportFrom):
            found.append(str(node.module))
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in names if is_module(name)]
    return found


def is_module(name: str) -> bool:
    """Whether a dotted name is that of a module of the package."""
    base = (ROOT / "src").joinpath(*name.split("."))
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--study", default="scenes")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args(arguments)
    found = measure(asked.study, cores=asked.cores, cells=asked.cells, rounds=asked.rounds)
    print(json.dumps(found))
    over = [name for name, limit in LIMITS.items() if float(str(found[name])) >= limit]
    if over:
        raise SystemExit("; ".join(f"{name} isn't under {LIMITS[name]}" for name in over))


if __name__ == "__main__":
    main()
