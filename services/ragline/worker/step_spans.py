"""The spans around one run of a step: how long it waited, for whom, and what came of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ragline.common.messages import StepMessage
from ragline.common.queues import ROUTES
from ragline.common.span_names import (
    ATTEMPT,
    CLAIM,
    COLD_START,
    DOCUMENT_ID,
    JOB_ID,
    KIND,
    MESSAGING_DESTINATION,
    MESSAGING_SYSTEM,
    OUTCOME,
    PREVIOUS_ATTEMPT,
    QUEUE_WAIT,
    REQUEST_ID,
    TENANT,
    WORKER,
    SpanKind,
)
from ragline.common.spans import Span, active_tracer, current_span, entered
from ragline.stores.ledger.claims import Claim

__all__ = ["note_claim", "note_outcome", "step_span"]

_NS_PER_MS = 1_000_000
_NS_PER_SECOND = 1_000_000_000


@contextmanager
def step_span(message: StepMessage, *, traceparent: str | None) -> Iterator[Span | None]:
    """A span for one run of a step, current in the body; None when nothing is traced.

    It begins before the claim, which is told its traceparent, and is to be dropped when there is nothing to claim.

    Parameters
    ----------
    traceparent
        As it came with the message: the request's.
    """
    tracer = active_tracer()
    if tracer is None:
        yield None
        return
    span = tracer.root(str(message.step), SpanKind.CONSUMER, traceparent=traceparent)
    span.attributes = {
        MESSAGING_SYSTEM: "celery",
        MESSAGING_DESTINATION: str(ROUTES[message.step].queue),
        JOB_ID: message.job_id,
    }
    with entered(span):
        yield span


def note_claim(span: Span, claim: Claim, *, worker: str, ready_at: float) -> None:
    """Add what the claim tells: whose step it is, which attempt, and how long it waited.

    Parameters
    ----------
    ready_at
        When this worker was ready for work, seconds since 1970; 0 when it does not know.
    """
    # Nothing else has happened in the step yet. A claim that was refused leaves nothing, the step included.
    span.child(CLAIM, started_ns=span.started_ns).end()
    job = claim.job
    span.attributes |= {ATTEMPT: job.attempts, KIND: str(job.kind), REQUEST_ID: job.request_id, WORKER: worker}
    span.attributes |= {TENANT: job.tenant, DOCUMENT_ID: job.document_id} if job.document_id else {TENANT: job.tenant}
    if claim.previous_span:
        span.links.append((claim.previous_span, PREVIOUS_ATTEMPT))
    _note_wait(span, claim, ready_at=ready_at)


def note_outcome(outcome: str, error: BaseException | None = None) -> None:
    """Say in the step's span what came of it, and what was wrong."""
    span = current_span()
    if span is not None:
        span.attributes[OUTCOME] = outcome
        if error is not None:
            span.fail(error)


def _note_wait(span: Span, claim: Claim, *, ready_at: float) -> None:
    # The ledger measured it, by its own clock; it is drawn by ours, as all else that this process knows. The claim was
    # made some time between our asking and the answer.
    claimed_ns = (span.started_ns + time.time_ns()) // 2
    queued_ns = claimed_ns - (claim.claimed_at - claim.queued_at) * _NS_PER_MS
    wait = span.child(QUEUE_WAIT, started_ns=queued_ns)
    # Before the step, not a part of it.
    wait.parent_id = span.parent_id
    wait.attributes = {MESSAGING_DESTINATION: span.attributes[MESSAGING_DESTINATION], JOB_ID: claim.job.id}
    ready_ns = int(ready_at * _NS_PER_SECOND)
    if claim.cold and ready_ns > queued_ns:
        start = wait.child(COLD_START, started_ns=queued_ns)
        start.attributes = dict(wait.attributes)
        start.end(ended_ns=min(ready_ns, claimed_ns))
    wait.end(ended_ns=claimed_ns)
