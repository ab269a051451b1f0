"""The verb `why`: which input, parameter or module makes a target stale."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from mmrobust.pipeline.code_notes import Parts, code_changes
from mmrobust.pipeline.graph import planned_workflow

NONE = object()
SHOWN = 4
"""Files that are named of one kind of reason; the rest are counted."""


def why(configfile: Path, target: str) -> list[str]:
    """Say why a target would be made again, or that it would not.

    Args:
        configfile: The study's file.
        target: A file or a rule.

    Returns:
        Lines to print: each job with a reason of its own, with its reasons, and what follows.
    """
    with planned_workflow(configfile, [target]) as workflow:
        dag = workflow.dag
        in_order = [job for level in dag.toposorted() for job in sorted(level, key=job_name)]
        jobs = [job for job in in_order if dag.needrun(job) and job.output]
        if not jobs:
            return [f"{target} is up to date"]
        own = {job: tuple(reasons(job, workflow)) for job in jobs}
    alike: dict[tuple[str, ...], list[str]] = {}
    for job, found in own.items():
        alike.setdefault(found, []).append(job_name(job))
    lines = []
    for found, names in alike.items():
        if found:
            lines += [f"{', '.join(names)}:", *(f"  {reason}" for reason in found)]
    following = Counter(job.rule.name for job, found in own.items() if not found)
    if following:
        counts = ", ".join(f"{rule} ({count})" for rule, count in following.items())
        lines.append(f"and what is made from them: {counts}")
    return lines


def job_name(job: Any) -> str:
    """Rule and wildcards of a job, without the study that all share."""
    wildcards = job.wildcards_dict if job.rule.wildcard_names else {}
    values = [
        f"seed {value}" if name == "seed" else value
        for name, value in wildcards.items()
        if name != "study"
    ]
    return " ".join([job.rule.name, *values])


def reasons(job: Any, workflow: Any) -> Iterator[str]:
    """Yield a job's own reasons to run: none if it only follows another job.

    Snakemake itself looks no further than the first reason, and not at jobs that follow others.
    """
    reason, kept = workflow.dag.reason(job), workflow.persistence
    output = job.output[0]
    if reason.incomplete_output:
        yield f"left unfinished by a run that was killed: {_files(reason.incomplete_output)}"
    elif reason.missing_output:
        yield f"missing: {_files(reason.missing_output)}"
    if reason.updated_input:
        yield f"changed: {_files(reason.updated_input)}"
    if any(kept.input_changed(job)):
        before, now = set(kept.input(output) or ()), set(map(str, job.input))
        if now - before:
            yield f"new input: {_files(now - before)}"
        if before - now:
            yield f"no longer an input: {_files(before - now)}"
    if any(kept.code_changed(job)):
        yield "the command of its rule was edited"
    changed = kept.params_changed(job)
    if changed:
        recorded = [ast.literal_eval(value) for value in sorted(changed.only_old)]
        current = [ast.literal_eval(value) for value in sorted(changed.only_new)]
        yield from parameter_changes(recorded, current, workflow.globals["CODE"])
    if reason.forced:
        yield "forced"


def parameter_changes(
    recorded: list[Any], current: list[Any], covered: Mapping[str, Parts]
) -> Iterator[str]:
    """Yield what differs between the parameters of the last run and of now.

    Snakemake keeps values without names, so old and new are matched by their kind: a part of the
    configuration (JSON), a fingerprint, or anything else.

    Args:
        recorded: Values of the last run that are no longer among the job's.
        current: Values that the last run didn't have.
        covered: What the fingerprints of now cover.
    """
    old, new = _by_kind(recorded), _by_kind(current)
    code: dict[str, list[str]] = {}
    # A rule may have got or lost such a parameter, and its outputs may be of several runs.
    for before, now in product(old["code"] or [NONE], new["code"] or [NONE]):
        if before is not now:
            code.setdefault(_code(before, now, covered), []).append("the verb")
    configured, configures = _merged(old["configuration"]), _merged(new["configuration"])
    for place, was, value in _differences(configured, configures):
        if _is_fingerprint(value) and _is_fingerprint(was):
            cell = place.removeprefix("code.")
            code.setdefault(code_changes(was, value, covered), []).append(cell)
        else:
            yield f"parameter {place}: {_value(was)} -> {_value(value)}"
    for change, places in code.items():
        yield f"code of {', '.join(dict.fromkeys(places))}: {change}"
    folders = {_masked(value) for value in old["other"]} & {
        _masked(value) for value in new["other"]
    }
    before, now = (
        [value for value in of["other"] if _masked(value) not in folders] for of in (old, new)
    )
    if before or now:
        yield f"parameter {_value(before)} -> {_value(now)}"


def _by_kind(values: list[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {"configuration": [], "code": [], "other": []}
    for value in values:
        if _is_fingerprint(value):
            found["code"].append(value)
        elif isinstance(content := _read(value), dict):
            found["configuration"].append(content)
        else:
            found["other"].append(value)
    return found


def _merged(configurations: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for of in configurations for key, value in of.items()}


def _code(before: Any, now: Any, covered: Mapping[str, Parts]) -> str:
    if NONE in (before, now):
        return f"{_value(before)} -> {_value(now)}"
    return code_changes(before, now, covered)


def _read(value: Any) -> Any:
    """The content of a parameter that is JSON; None of one that isn't, as a title."""
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return None


def _masked(value: Any) -> str:
    """A value without the fingerprint that the name of a folder ends in: it is told by itself."""
    return re.sub(r"-[0-9a-f]{16}\b", "", str(value))


def _is_fingerprint(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{16}", value) is not None


def _differences(before: Any, now: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the place, the old and the new value of each leaf that differs; `NONE` is absent."""
    if before == now:
        return
    if isinstance(before, dict) and isinstance(now, dict):
        for key in {**before, **now}:
            inner = f"{place}.{key}" if place else str(key)
            yield from _differences(before.get(key, NONE), now.get(key, NONE), inner)
    else:
        yield place, before, now


def _value(value: Any) -> str:
    if value is NONE:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _files(files: Any) -> str:
    names = sorted(map(str, files))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
