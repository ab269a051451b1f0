"""How long some jobs take together on some cores, started as Snakemake starts them."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Task:
    """A job with its time.

    Fields:
        name: What other tasks know it by.
        after: Names of the tasks that it waits for.
        seconds: How long it takes.
        cores: How many it takes; more than there are is all there are.
        gpus: The same.
        priority: Of two that could start, the higher is first.
    """

    name: Hashable
    after: frozenset[Hashable]
    seconds: float
    cores: int = 1
    gpus: int = 0
    priority: int = 0


def makespan(tasks: Sequence[Task], *, cores: int, gpus: int) -> float:
    """Time from the first start to the last end, if whatever fits is started at once.

    Args:
        tasks: Each after those that it waits for.
        cores: How many there are.
        gpus: The same.
    """
    waiting = sorted(tasks, key=lambda of: -of.priority)
    running: list[tuple[float, int, Task]] = []
    done: set[Hashable] = set()
    order = itertools.count()  # of two that end at once, whichever
    free_cores, free_gpus, now = cores, gpus, 0.0
    while waiting or running:
        started = []
        for task in waiting:
            needs = min(task.cores, cores), min(task.gpus, gpus)
            if task.after <= done and needs[0] <= free_cores and needs[1] <= free_gpus:
                free_cores, free_gpus = free_cores - needs[0], free_gpus - needs[1]
                heapq.heappush(running, (now + task.seconds, next(order), task))
                started.append(task)
        waiting = [task for task in waiting if task not in started]
        now, _, ended = heapq.heappop(running)
        done.add(ended.name)
        free_cores += min(ended.cores, cores)
        free_gpus += min(ended.gpus, gpus)
    return now
