"""What is said of a step whose worker was lost: nobody else can. A line of the log, and the span of the attempt."""

import time
from datetime import timedelta

import structlog

from ragline.common.span_names import (
    ATTEMPT,
    DOCUMENT_ID,
    JOB_ID,
    LEASE_LOST,
    MESSAGING_DESTINATION,
    MESSAGING_SYSTEM,
    OUTCOME,
    REQUEST_ID,
    TENANT,
    WORKER,
    SpanKind,
)
from ragline.common.spans import active_tracer
from ragline.common.traceparent import span_id_of, trace_id_of
from ragline.stores.ledger.sweeping import LostClaim

__all__ = ["tell_lost_claim"]

logger = structlog.get_logger(__name__)


def tell_lost_claim(claim: LostClaim) -> None:
    """Log it, and put the attempt into its trace, where the next one links to it."""
    logger.warning(
        "worker lost in a step",
        next="the step is queued again; the third time its job ends as quarantined",
        job_id=claim.job_id,
        step=claim.step,
        queue=claim.queue,
        tenant=claim.tenant,
        document_id=claim.document_id,
        worker=claim.worker,
        attempt=claim.attempt,
        seconds=claim.held.total_seconds(),
        request_id=claim.request_id,
        trace_id=trace_id_of(claim.traceparent),
    )
    tracer = active_tracer()
    if tracer is None or not claim.span:
        return
    span = tracer.root(claim.step, SpanKind.CONSUMER, traceparent=claim.traceparent, span_id=span_id_of(claim.span))
    span.attributes = {
        MESSAGING_SYSTEM: "celery",
        MESSAGING_DESTINATION: claim.queue,
        JOB_ID: claim.job_id,
        DOCUMENT_ID: claim.document_id,
        TENANT: claim.tenant,
        REQUEST_ID: claim.request_id,
        ATTEMPT: claim.attempt,
        WORKER: claim.worker,
        OUTCOME: "lost",
    }
    ended_ns = time.time_ns() - _nanoseconds(claim.silent)
    span.started_ns = ended_ns - _nanoseconds(claim.held)
    span.fail(LEASE_LOST)
    span.end(ended_ns=ended_ns)


def _nanoseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1) * 1000
