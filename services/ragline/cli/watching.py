"""`ragline top`: readings of the queues, and what several of them say together."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ragline.cli.client import RaglineClient
from ragline.cli.metrics import Histogram
from ragline.cli.queue_readings import QueueReading, Readings, read_queues
from ragline.common.metrics import (
    ADMISSION_REFUSALS,
    DEPENDENCY_CALLS,
    DOCUMENTS,
    HTTP_REQUESTS,
    JOB_FAILURES,
    LEDGER_UP,
    QUEUE_WAIT,
    RATE_LIMIT_REFUSALS,
    STEPS,
)

__all__ = ["ErrorView", "QueueView", "TopView", "Watcher", "view_json"]

_RATE_SECONDS = 60.0
"""Rates and waits are those of this time: short enough to see a change, long enough to see it through the noise."""

_ERROR_SECONDS = 300.0

_ERRORS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("job failed", JOB_FAILURES.name, ("kind", "code"), ()),
    ("step", STEPS.name, ("queue", "step", "outcome"), ("retried", "lost", "failed")),
    (
        "call",
        DEPENDENCY_CALLS.name,
        ("dependency", "operation", "outcome"),
        ("transient", "rejected", "protocol"),
    ),
    ("refused", ADMISSION_REFUSALS.name, ("code",), ()),
    ("rate limit", RATE_LIMIT_REFUSALS.name, ("policy",), ()),
    ("HTTP", HTTP_REQUESTS.name, ("method", "route", "status"), ("5",)),
)
"""What counts as an error: its name, the counter, its labels, and how the last label's value must begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """One queue; None for what is not known.

    Attributes
    ----------
    in_per_second, out_per_second
        Jobs that were put on it, and taken from it.
    wait_p50_seconds, wait_p95_seconds
        From there to the claim.
    """

    name: str
    waiting: int
    held: int | None
    in_flight: int
    workers: tuple[str, ...]
    oldest_seconds: float | None
    in_per_second: float | None
    out_per_second: float | None
    wait_p50_seconds: float | None
    wait_p95_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorView:
    """How often something went wrong: lately, and since it is counted."""

    what: str
    lately: int
    ever: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopView:
    """Everything that `top` shows.

    Attributes
    ----------
    rate_seconds, error_seconds
        How long back rates and errors look; less than wanted at first.
    gaps
        What is missing, in sentences.
    """

    queues: tuple[QueueView, ...]
    documents: dict[str, int] | None
    errors: tuple[ErrorView, ...] | None
    rate_seconds: float
    error_seconds: float
    gaps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Sample:
    at_seconds: float
    readings: Readings


class Watcher:
    """Keeps the readings of the last minutes."""

    def __init__(self, client: RaglineClient) -> None:
        self._client = client
        self._samples: deque[_Sample] = deque()

    def look(self) -> TopView:
        """Read once more.

        Raises
        ------
        ApiUnreachable, ApiFailure
            There is nobody to ask, or no answer to use.
        """
        now = time.monotonic()
        self._samples.append(_Sample(now, read_queues(self._client)))
        while now - self._samples[0].at_seconds > _ERROR_SECONDS:
            self._samples.popleft()
        return _view(list(self._samples))


def view_json(view: TopView) -> dict[str, Any]:
    """For programs."""
    return asdict(view)


def _view(samples: Sequence[_Sample]) -> TopView:
    last, first = samples[-1], samples[0]
    base = next(sample for sample in samples if last.at_seconds - sample.at_seconds <= _RATE_SECONDS)
    metrics = last.readings.metrics
    documents = {state: int(count) for (state,), count in metrics.by(DOCUMENTS.name, "state").items()}
    seen = last.readings.metrics.value(LEDGER_UP.name) is not None
    return TopView(
        queues=tuple(_queue(queue, base, last) for queue in last.readings.queues),
        documents=documents if seen else None,
        errors=_errors(first, last) if seen else None,
        rate_seconds=last.at_seconds - base.at_seconds,
        error_seconds=last.at_seconds - first.at_seconds,
        gaps=last.readings.gaps,
    )


def _queue(queue: QueueReading, base: _Sample, last: _Sample) -> QueueView:
    seconds = last.at_seconds - base.at_seconds
    before = next((other for other in base.readings.queues if other.name == queue.name), queue)
    now, then = (sample.readings.metrics.histogram(QUEUE_WAIT.name, queue=queue.name) for sample in (last, base))
    # Of a single reading: all since they are counted.
    waits = now.since(then if seconds else None) if now else Histogram(buckets=())
    out = waits.count / seconds if now and seconds else None
    return QueueView(
        name=queue.name,
        waiting=queue.waiting,
        held=queue.held,
        in_flight=queue.in_flight,
        workers=queue.workers,
        oldest_seconds=queue.oldest_seconds,
        in_per_second=None if out is None else max(out + (queue.waiting - before.waiting) / seconds, 0.0),
        out_per_second=out,
        wait_p50_seconds=waits.quantile(0.5),
        wait_p95_seconds=waits.quantile(0.95),
    )


def _errors(first: _Sample, last: _Sample) -> tuple[ErrorView, ...]:
    views = []
    for what, name, labels, wanted in _ERRORS:
        before = first.readings.metrics.by(name, *labels)
        for key, count in last.readings.metrics.by(name, *labels).items():
            if count and (not wanted or key[-1].startswith(wanted)):
                # Counts that began anew, with an emptied Redis, are all of now.
                lately = count - before.get(key, 0.0) if count >= before.get(key, 0.0) else count
                views.append(ErrorView(what=" ".join((what, *key)), lately=int(lately), ever=int(count)))
    return tuple(sorted(views, key=lambda view: (-view.lately, -view.ever, view.what)))
