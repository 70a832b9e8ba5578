"""A job's course as spans, from what the ledger itself noted: the record of the job and its events.

It knows less than a trace (nothing of calls to other parts) and is always there: no sampling, no collector.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import httpx2

from ragline.cli.replies import JobCourse, Progress, event_data, understood
from ragline.cli.traces.spans import Moment, Span, Value
from ragline.common.queues import ROUTES, Step
from ragline.common.span_names import ATTEMPT, DOCUMENT_ID, JOB_ID, MESSAGING_DESTINATION, QUEUE_WAIT

__all__ = ["LEDGER", "spans_of_job"]

LEDGER = "ledger"
"""Where these spans come from; also the service that they name."""

_MS = 1000


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """One claim: how long it waited, and what came after it."""

    step: str
    number: int
    waited_us: int | None
    cold: bool
    start_us: int
    last_us: int
    attributes: dict[str, Value] = field(default_factory=dict)
    moments: list[Moment] = field(default_factory=list)

    @property
    def queued_us(self) -> int | None:
        """When it was put on its queue."""
        return None if self.waited_us is None else self.start_us - self.waited_us


def spans_of_job(reply: object, events: Iterable[httpx2.ServerSentEvent], *, now_us: int) -> list[Span]:
    """The job, and below it each wait and each attempt at a step.

    An attempt that did not end its job ended when the next one was put on a queue, at the latest: the pause before a
    retry counts to it.

    Raises
    ------
    ApiFailure
        The record is not understood.
    """
    job = understood(JobCourse, reply)
    created_us = _microseconds(job.created_at)
    end_us = _microseconds(job.finished_at) if job.finished_at else max(now_us, created_us)
    attempts = _attempts(events)
    first = Span(
        trace_id=job.trace_id,
        span_id=_span_id(0),
        name=job.kind,
        service=LEDGER,
        start_us=min([created_us, *(attempt.queued_us or created_us for attempt in attempts)]),
        end_us=end_us,
        failed=job.status == "failed",
        message=_reason(job),
        attributes=_known(
            {JOB_ID: job.id, DOCUMENT_ID: job.document_id, "collection": job.collection, "state": job.status}
        ),
    )
    below = [*_below(job, attempts, end_us), *_present_wait(job, attempts, created_us, end_us)]
    return [first, *(replace(span, span_id=_span_id(number)) for number, span in enumerate(below, start=1))]


def _attempts(events: Iterable[httpx2.ServerSentEvent]) -> list[_Attempt]:
    attempts: list[_Attempt] = []
    for event in events:
        at_us = _event_us(event.id)
        data = event_data(event)
        if event.event == "progress" and "attempt" in data:
            begun = understood(Progress, data)
            attempts.append(
                _Attempt(
                    step=begun.step,
                    number=begun.attempt,
                    waited_us=begun.waited_ms * _MS if "waited_ms" in data else None,
                    cold=begun.cold,
                    start_us=at_us,
                    last_us=at_us,
                )
            )
        elif attempts:
            _note(attempts[-1], event.event, data, at_us)
    return attempts


def _note(attempt: _Attempt, kind: str, data: dict[str, Any], at_us: int) -> None:
    attempt.last_us = max(attempt.last_us, at_us)
    match kind:
        case "progress":
            attempt.attributes["progress"] = f"{data.get('done')} of {data.get('total')} {data.get('unit', '')}".strip()
        case "token" if not any(moment.name == "first token" for moment in attempt.moments):
            attempt.moments.append(Moment(at_us=at_us, name="first token"))
        case "citation":
            attempt.attributes["citations"] = int(attempt.attributes.get("citations", 0)) + 1
        case "usage":
            attempt.attributes |= {key: value for key, value in data.items() if isinstance(value, int)}
        case _:
            pass


def _below(job: JobCourse, attempts: Sequence[_Attempt], end_us: int) -> list[Span]:
    spans = []
    for number, attempt in enumerate(attempts, start=1):
        following = attempts[number] if number < len(attempts) else None
        place = _known({MESSAGING_DESTINATION: _queue_of(attempt.step), "step": attempt.step, ATTEMPT: attempt.number})
        if attempt.queued_us is not None:
            cold = {"cold": True} if attempt.cold else {}
            spans.append(_span(job, QUEUE_WAIT, attempt.queued_us, attempt.start_us, {**place, **cold}))
        again = following is not None and (following.step, following.number) == (attempt.step, attempt.number + 1)
        last = following is None and job.status == "failed"
        step = _span(job, attempt.step, attempt.start_us, _end(job, attempt, following, end_us), place)
        message = "another attempt had to follow" if again else _reason(job) if last else ""
        spans.append(
            replace(
                step,
                failed=again or last,
                message=message,
                attributes={**place, **attempt.attributes},
                moments=tuple(attempt.moments),
            )
        )
    return spans


def _end(job: JobCourse, attempt: _Attempt, following: _Attempt | None, end_us: int) -> int:
    if following is None:
        return attempt.last_us if job.queue_position is not None else end_us
    return max(attempt.last_us, following.queued_us or attempt.last_us)


def _present_wait(job: JobCourse, attempts: Sequence[_Attempt], created_us: int, end_us: int) -> list[Span]:
    if job.queue_position is None or job.finished_at:
        return []
    since_us = attempts[-1].last_us if attempts else created_us
    place = _known({MESSAGING_DESTINATION: job.queue, "position": job.queue_position})
    return [_span(job, QUEUE_WAIT, since_us, end_us, place)]


def _span(job: JobCourse, name: str, start_us: int, end_us: int, attributes: dict[str, Value]) -> Span:
    return Span(
        trace_id=job.trace_id,
        span_id="",
        parent_id=_span_id(0),
        name=name,
        service=LEDGER,
        start_us=start_us,
        end_us=max(end_us, start_us),
        attributes=attributes,
    )


def _known(values: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if value is not None and value != ""}


def _queue_of(step: str) -> str:
    # A step of a newer release than ours has a queue that is not known here.
    return str(ROUTES[Step(step)].queue) if step in set(Step) else ""


def _reason(job: JobCourse) -> str:
    return ": ".join(filter(None, (job.error.code, job.error.detail))) if job.error else ""


def _event_us(event_id: str) -> int:
    """Ids of events are those of a Redis Stream, which begin with its clock's milliseconds."""
    milliseconds = (event_id or "").partition("-")[0]
    return int(milliseconds) * _MS if milliseconds.isdecimal() else 0


def _microseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def _span_id(number: int) -> str:
    return f"{number:016x}"
