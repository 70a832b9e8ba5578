"""Queues, steps and tasks fit together, and so do the times that are counted on them."""

import re
from pathlib import Path

import pytest

from ragline.common.constants import (
    LEASE,
    LEASE_RENEWAL,
    RETRY_BACKOFF,
    RETRY_BACKOFF_LIMIT,
    STEP_BUDGET,
    SWEEP_INTERVAL,
    VANISHED_GRACE,
    VISIBILITY_TIMEOUT,
    WORKFLOW_LEASE,
)
from ragline.common.queues import CANVAS_TASKS, FIRST_STEP, NEXT_STEP, ROUTES, JobKind, Queue, Step

REDISPATCH_SECONDS = 30
"""Promise P1."""


def test_queue_names_are_the_original_ones() -> None:
    assert list(Queue) == ["default", "document", "vectorstore", "rag"]


def test_every_step_has_one_route() -> None:
    assert ROUTES.keys() == set(Step)
    assert all(route.step is step for step, route in ROUTES.items())


def test_every_task_belongs_to_one_step() -> None:
    tasks = [route.task for route in ROUTES.values()]
    assert len(set(tasks)) == len(tasks)
    assert not set(tasks) & CANVAS_TASKS.keys()


def test_the_guide_lists_the_tasks_of_every_queue() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "queue-system-guide.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (`\w+_task`(?:, `\w+_task`)*) \|", guide, re.MULTILINE))
    told = {queue: set(re.findall(r"\w+_task", tasks)) for queue, tasks in rows.items()}
    tasks = {**{route.task: route.queue for route in ROUTES.values()}, **CANVAS_TASKS}
    assert told == {queue: {task for task, its in tasks.items() if its is queue} for queue in Queue}


def test_every_queue_has_work_and_a_purpose() -> None:
    assert {route.queue for route in ROUTES.values()} == set(Queue)
    assert len({queue.purpose for queue in Queue}) == len(Queue)


def test_only_one_queue_writes_to_chroma() -> None:
    assert {ROUTES[step].queue for step in (Step.INDEX, Step.DELETE)} == {Queue.VECTORSTORE}


@pytest.mark.parametrize("kind", JobKind)
def test_every_kind_of_job_comes_to_its_end(kind: JobKind) -> None:
    step: Step | None = FIRST_STEP[kind]
    seen: list[Step] = []
    while step is not None:
        assert step not in seen, "its steps go round in a circle"
        seen.append(step)
        step = NEXT_STEP.get(step)
    assert len(seen) == (3 if kind is JobKind.INGEST else 1)


def test_every_step_is_part_of_a_job() -> None:
    assert {*FIRST_STEP.values(), *NEXT_STEP.values()} == set(Step)


def test_kombu_gives_no_message_to_a_second_worker_while_the_first_one_is_within_its_budget() -> None:
    assert VISIBILITY_TIMEOUT >= 5 * STEP_BUDGET
    assert VISIBILITY_TIMEOUT >= 3 * LEASE


def test_lost_work_is_queued_again_in_time() -> None:
    assert (LEASE + SWEEP_INTERVAL).total_seconds() <= REDISPATCH_SECONDS
    # The sweeper remembers two looks, half a grace period apart, and the message may vanish right after one.
    longest = 1.5 * VANISHED_GRACE + 3 * SWEEP_INTERVAL
    assert longest.total_seconds() <= REDISPATCH_SECONDS


def test_lease_outlives_two_failed_renewals() -> None:
    assert 3 * LEASE_RENEWAL < LEASE
    assert WORKFLOW_LEASE > LEASE


def test_delays_are_longer_than_the_sweeper_can_tell_apart() -> None:
    assert SWEEP_INTERVAL <= RETRY_BACKOFF < RETRY_BACKOFF_LIMIT
