"""The report of a study: one HTML file that needs nothing but itself."""

from __future__ import annotations

import base64
import importlib.resources
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

from mmrobust.artifacts import read_json, write_text
from mmrobust.config import build
from mmrobust.figures.catalogue import shown_figures
from mmrobust.figures.notes import copies, resolution, resolution_note
from mmrobust.figures.style import label, svg_of
from mmrobust.figures.sweeps import own_rows
from mmrobust.figures.table import curves_of
from mmrobust.figures.training import plot_training_history
from mmrobust.report import words
from mmrobust.report.claims import reading
from mmrobust.report.flags import counted, raised_cells
from mmrobust.report.headline import headline
from mmrobust.report.inputs import VERDICTS, Inputs, Job, read_inputs
from mmrobust.report.strip import WIDTH, claim_strip
from mmrobust.report.tables import METRICS, Group, hard_negatives, result_groups, truth_tables
from mmrobust.threat import ThreatModel


def write_report(
    cfg: dict[str, Any], results: Path, out: Path, *, manifest: Path | None = None
) -> None:
    """Write the report of a study as one self-contained HTML file.

    Whatever the study has not produced yet is marked as missing; only a file that is there but
    broken is an error. The same inputs give the same bytes.

    Args:
        cfg: the study's configuration, its keys in the order of the file.
        results: the folder `results/<study>/`.
        out: the HTML file; written whole or not at all.
        manifest: `manifest.json` of the prepared dataset, for its licence and resolution.

    Raises:
        UserError: a result file is broken.
    """
    inputs = read_inputs(cfg, results)
    data = read_json(manifest) if manifest is not None and manifest.is_file() else None
    write_text(out, _render(_view(cfg, results, inputs, data)))


def _render(view: dict[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mmrobust.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": words.count,
        "decimal": words.decimal,
        "duration": words.duration,
        "label": label,
        "linked": words.linked,
        "percent": words.percent,
        "seeds": words.seeds,
    }
    css = importlib.resources.files("mmrobust.report").joinpath("style.css").read_text("utf-8")
    return environment.get_template("template.html").render(css=css, **view)


def _view(
    cfg: dict[str, Any], results: Path, inputs: Inputs, manifest: dict[str, Any] | None
) -> dict[str, Any]:
    metrics, grid = inputs.metrics, inputs.grid
    top = None if metrics is None else headline(own_rows(metrics, inputs.points), inputs.own)
    pictures = _pictures(inputs, manifest)
    sentence = top.sentence if top else ""
    figures = _figures(results / "figures", sentence, sweeps=bool(inputs.points))
    return {
        "study": cfg["study"],
        "title": cfg["title"],
        "headline": top,
        "tally": _tally(inputs.claims),
        "reading": reading(inputs.claims or [], several_seeds=len(grid.seeds) > 1),
        "claims": inputs.claims,
        "strips": [claim_strip(claim) for claim in inputs.claims or []],
        "strip_width": WIDTH,
        "figures": figures,
        "shows_data": any(figure["source"] and figure["shows_data"] for figure in figures),
        "several_seeds": len(grid.seeds) > 1,
        **_numbers(inputs),
        "truth": [] if metrics is None else truth_tables(metrics, grid),
        "ensembles": cfg["ensembles"],
        "flags": inputs.flags,
        "quiet": counted(inputs.flags or []),
        "threats": _threats(cfg),
        "checks": _checks(inputs),
        "augmentations": inputs.augmentations,
        "words": [] if metrics is None else hard_negatives(metrics, grid),
        "training": _training(inputs, cfg["title"], pictures),
        "pictures": copies(pictures),
        "config": yaml.safe_dump(cfg, sort_keys=False, allow_unicode=True),
        "data": _data(cfg["dataset"]["name"], pictures, manifest),
        "jobs": inputs.jobs,
        "machines": _machines(inputs.jobs),
        "total_s": sum(job.facts["wall_s"] for job in inputs.jobs if job.facts),
    }


def _tally(claims: list[dict[str, Any]] | None) -> list[tuple[str, int]]:
    found = [claim["verdict"] for claim in claims or []]
    return [(verdict, found.count(verdict)) for verdict in VERDICTS if verdict in found]


def _figures(folder: Path, sentence: str, *, sweeps: bool) -> list[dict[str, Any]]:
    chart = f"{sentence} All its numbers stand in the tables below."
    pictures = "Images and captions of a few test items before and after an attack, with ranks."
    return [
        {
            "name": name,
            "caption": entry.caption,
            "alt": f"Chart: {label(name)}. {pictures if entry.shows_data else chart}",
            "source": _data_uri(path.read_bytes())
            if (path := folder / f"{name}.svg").is_file()
            else "",
            "shows_data": entry.shows_data,
        }
        for name, entry in shown_figures(sweeps=sweeps).items()
    ]


def _numbers(inputs: Inputs) -> dict[str, list[Group]]:
    """Every number of `metrics.csv` in tables, by the metric and for curves."""
    metrics, grid = inputs.metrics, inputs.grid
    if metrics is None:
        return {"recall": [], "success": [], "drop": [], "curves": []}
    flagged = raised_cells(inputs.flags)
    recall, success, drop = (
        result_groups(metrics, grid, metric, flagged=flagged) for metric in METRICS
    )
    curves = [
        replace(group, title=f"Curve {label(curve)}: {group.title}")
        for curve in curves_of(metrics)
        for metric in METRICS
        for group in result_groups(metrics, grid, metric, flagged=flagged, curve=curve)
    ]
    return {"recall": recall, "success": success, "drop": drop, "curves": curves}


def _data_uri(svg: bytes) -> str:
    # an <img> of its own keeps the ids of two SVGs apart, and their scripts, if any, dead
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode('ascii')}"


def _training(inputs: Inputs, title: str, source_resolution: str) -> str:
    if inputs.history.empty:
        return ""
    figure = plot_training_history(
        own_rows(inputs.history, inputs.points),
        title=title,
        grid=inputs.own,
        source_resolution=source_resolution,
    )
    return _data_uri(svg_of(figure))


def _threats(cfg: dict[str, Any]) -> list[dict[str, Any]]:
    """The threat models that attacks and ensembles name; a curve's points vary one of them."""
    users: dict[str, list[str]] = {name: [] for name in cfg["threat_models"]}
    points = set()
    for attack, entry in cfg["attacks"].items():
        if entry.get("curve") is None:
            users[entry["threat_model"]].append(label(attack))
        else:
            points.add(entry["threat_model"])
    for name, ensemble in cfg["ensembles"].items():
        users[ensemble["threat_model"]].append(label(name))
    return [
        {
            "name": name,
            "sentences": words.threat_model_words(
                build(ThreatModel, section, where=f"threat_models.{name}")
            ),
            "attacks": users[name],
        }
        for name, section in cfg["threat_models"].items()
        if users[name] or name not in points
    ]


def _checks(inputs: Inputs) -> list[dict[str, Any]]:
    """What each attack was measured to do, one row an attack and model."""
    rows = []
    for cell in inputs.cells:
        image = (cell["threat_model"] or {}).get("image") or {}
        told = [
            words.check_words(name, value, norm=image.get("norm", "linf"))
            for name, value in cell["checks"].items()
        ]
        checks = [check for check in told if check is not None]
        if checks:
            rows.append({**{key: cell[key] for key in ("attack", "defence", "seed")}, "of": checks})
    return rows


def _pictures(inputs: Inputs, manifest: dict[str, Any] | None) -> str:
    """`source_resolution` of what was measured, as `metrics.csv` writes it: "" for none."""
    if inputs.metrics is not None:
        return resolution(inputs.metrics)
    return (manifest or {}).get("source_resolution") or ""


def _data(name: str, source_resolution: str, manifest: dict[str, Any] | None) -> dict[str, Any]:
    stored = manifest or {"licence": "", "redistributable": None, "splits": {}}
    keys = ("licence", "redistributable", "splits")
    note = resolution_note(source_resolution, name)
    return {"name": name, "note": note, **{key: stored[key] for key in keys}}


def _machines(jobs: list[Job]) -> list[dict[str, Any]]:
    """The distinct machines and package sets that the jobs ran on."""
    keys = ("processor", "cores", "memory_gb", "python", "git_commit", "versions")
    machines: list[dict[str, Any]] = []
    for job in jobs:
        facts = {key: job.facts[key] for key in keys} if job.facts else None
        if facts and facts not in machines:
            machines.append(facts)
    return sorted(machines, key=lambda facts: pd.Series(facts).astype(str).str.cat())
