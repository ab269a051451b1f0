"""Where the numbers of a study come from: data, machine, packages, code, time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from mmrobust.figures.notes import resolution, resolution_note
from mmrobust.report.markdown import code
from mmrobust.report.record import Record
from mmrobust.report.words import count, duration


def provenance(record: Record) -> str:
    """A list: data, seeds, and the machines, packages, commits and times of the jobs."""
    first, jobs = record.metrics.iloc[0], record.jobs
    pictures = resolution_note(resolution(record.metrics), first["dataset"])
    images, captions = count(first["images"]), count(first["captions"])
    data = f"{code(first['dataset'])}, {images} test images with {captions} captions"
    lines = [
        f"data: {data}" + (f", {pictures}" if pictures else ""),
        f"training seeds: {', '.join(str(seed) for seed in record.whole.seeds)}",
        f"machine: {_distinct(map(_machine, jobs))}",
        f"packages: {_distinct(map(_packages, jobs))}",
        f"code: {_distinct(map(_commit, jobs))}",
        f"jobs: {_took(jobs)}",
    ]
    return "\n".join(f"- {line[0].upper()}{line[1:]}." for line in lines)


def _distinct(told: Iterable[str]) -> str:
    """What the jobs say, each with the number of jobs that say it if they differ."""
    of = Counter(told)
    return "; ".join(f"{text} ({n} jobs)" if len(of) > 1 else text for text, n in of.items())


def _machine(job: dict[str, Any]) -> str:
    return f"{job['processor']}, {job['cores']} cores, {job['memory_gb']} GB"


def _packages(job: dict[str, Any]) -> str:
    versions = [f"{name} {version}" for name, version in job["versions"].items() if version]
    return ", ".join([f"Python {job['python']}", *versions])


def _commit(job: dict[str, Any]) -> str:
    commit, _, dirty = (job["git_commit"] or "").partition("-")
    changed = " with changed files" if dirty else ""
    return f"commit {code(commit[:10])}{changed}" if commit else "commit unknown"


def _took(jobs: Sequence[dict[str, Any]]) -> str:
    total = sum(job["wall_s"] for job in jobs)
    parts = []
    for verb in dict.fromkeys(job["verb"] for job in jobs):
        walls = [job["wall_s"] for job in jobs if job["verb"] == verb]
        parts.append(f"{len(walls)} of {code(verb)} ({duration(sum(walls))})")
    peak = count(round(max(job["peak_memory_mb"] for job in jobs)))
    return (
        f"{count(round(total))} s of wall time, summed over jobs that may run side by side "
        f"({duration(total)}): {', '.join(parts)}; "
        f"the largest took {peak} MB"
    )
