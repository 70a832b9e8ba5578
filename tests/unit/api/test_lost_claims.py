from collections.abc import Iterator
from datetime import timedelta

import pytest
import structlog

from ragline.api.lost_claims import tell_lost_claim
from ragline.common.span_names import ATTEMPT, OUTCOME, WORKER
from ragline.common.spans import Span, Tracer, use_tracer
from ragline.stores.ledger.sweeping import LostClaim

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def delivered() -> Iterator[list[Span]]:
    """Spans of a process that samples nothing."""
    spans: list[Span] = []
    use_tracer(Tracer(ratio=0, content=False, deliver=spans.append))
    yield spans
    use_tracer(None)


def _lost(*, span: str) -> LostClaim:
    return LostClaim(
        job_id="job_1",
        step="index",
        queue="vectorstore",
        tenant="people",
        document_id="doc_1",
        worker="vectorstore@pod",
        attempt=2,
        request_id="req_1",
        traceparent=f"00-{TRACE_ID}-{'a' * 16}-00",
        span=span,
        held=timedelta(seconds=20),
        silent=timedelta(seconds=1),
    )


def test_the_attempt_is_in_its_trace_under_its_own_id(delivered: list[Span]) -> None:
    tell_lost_claim(_lost(span=f"00-{TRACE_ID}-{'b' * 16}-00"))

    [span] = delivered
    assert (span.trace_id, span.parent_id, span.span_id) == (TRACE_ID, "a" * 16, "b" * 16)
    assert (span.name, span.error) == ("index", "lease_lost")
    assert span.ended_ns - span.started_ns == 20 * 10**9
    assert (span.attributes[ATTEMPT], span.attributes[OUTCOME], span.attributes[WORKER]) == (
        2,
        "lost",
        "vectorstore@pod",
    )


def test_an_attempt_that_was_not_traced_has_a_line_and_no_span(delivered: list[Span]) -> None:
    with structlog.testing.capture_logs() as logged:
        tell_lost_claim(_lost(span=""))

    assert delivered == []
    [line] = logged
    assert (line["event"], line["job_id"], line["trace_id"]) == ("worker lost in a step", "job_1", TRACE_ID)
