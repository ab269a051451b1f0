"""How long jobs take together: closed forms, and bounds that hold of any schedule."""

from __future__ import annotations

import random

import pytest

from mmrobust.pipeline.schedule import Task, makespan


def task(name: str, seconds: float, *after: str, **needs: int) -> Task:
    return Task(name=name, seconds=seconds, after=frozenset(after), **needs)


def test_nothing_takes_no_time():
    assert makespan([], cores=2, gpus=1) == 0


@pytest.mark.parametrize(("cores", "expected"), [(1, 12), (2, 6), (3, 4), (12, 1)])
def test_equal_tasks_share_the_cores(cores, expected):
    assert makespan([task(str(at), 1) for at in range(12)], cores=cores, gpus=0) == expected


def test_a_chain_takes_its_sum():
    chain = [task("a", 2), task("b", 3, "a"), task("c", 4, "b")]
    assert makespan(chain, cores=8, gpus=8) == 9


def test_a_task_of_several_cores_waits_for_them():
    tasks = [task("one", 5), task("wide", 1, cores=2)]
    assert makespan(tasks, cores=2, gpus=0) == 6
    assert makespan(tasks, cores=3, gpus=0) == 5
    assert makespan(tasks, cores=1, gpus=0) == 6, "it takes all there are"


def test_one_job_a_gpu():
    tasks = [task(str(at), 1, gpus=1) for at in range(4)]
    assert [makespan(tasks, cores=8, gpus=gpus) for gpus in (1, 2, 4)] == [4, 2, 1]


def test_the_higher_priority_is_first():
    """Nothing waits for the long one, which would make others late if it came first."""
    tasks = [task("cell", 4), task("train", 4, priority=1), task("after", 4, "train")]
    assert makespan(tasks, cores=1, gpus=0) == 12
    two = [*tasks, task("other", 4)]
    assert makespan(two, cores=2, gpus=0) == 8


def test_a_schedule_is_no_shorter_than_its_work_and_its_longest_chain():
    drawn = random.Random(0)
    for _ in range(200):
        tasks: list[Task] = []
        ends: dict[str, float] = {}
        for at in range(drawn.randint(1, 15)):
            after = [of.name for of in tasks if drawn.random() < 0.2]
            tasks.append(task(str(at), drawn.randint(0, 9), *map(str, after)))
            ends[str(at)] = tasks[-1].seconds + max((ends[str(of)] for of in after), default=0)
        cores = drawn.randint(1, 4)
        took = makespan(tasks, cores=cores, gpus=0)
        work, chain = sum(of.seconds for of in tasks) / cores, max(ends.values())
        assert max(work, chain) <= took <= work + chain  # Graham's bound
