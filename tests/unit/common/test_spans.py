"""Which spans are exported: those of sampled traces at once, those of others when something failed."""

import os
import threading

import pytest

from ragline.common.errors import NotFound
from ragline.common.span_names import ERROR_TYPE, SpanKind
from ragline.common.spans import Span, Tracer, active_tracer, child_span, current_span, entered, use_tracer

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
NOT_SAMPLED = f"00-{TRACE_ID}-00f067aa0ba902b7-00"


def _tracer(delivered: list[Span], *, ratio: float = 1) -> Tracer:
    return Tracer(ratio=ratio, content=False, deliver=delivered.append)


def _names(spans: list[Span]) -> list[str]:
    return [span.name for span in spans]


def test_a_sampled_part_is_delivered_span_by_span() -> None:
    delivered: list[Span] = []
    root = _tracer(delivered).root("step", SpanKind.CONSUMER, traceparent=SAMPLED)
    root.child("query").end()
    assert _names(delivered) == ["query"]
    root.end()
    assert _names(delivered) == ["query", "step"]
    query, step = delivered
    assert (query.trace_id, query.parent_id) == (TRACE_ID, step.span_id)
    assert (step.trace_id, step.parent_id) == (TRACE_ID, "00f067aa0ba902b7")
    assert step.traceparent == f"00-{TRACE_ID}-{step.span_id}-01"


def test_of_a_part_that_is_not_sampled_nothing_is_delivered() -> None:
    delivered: list[Span] = []
    root = _tracer(delivered).root("step", SpanKind.CONSUMER, traceparent=NOT_SAMPLED)
    root.child("query").end()
    root.end()
    assert delivered == []
    assert root.traceparent.endswith("-00")


@pytest.mark.parametrize("failing", ["query", "step"])
def test_a_part_that_is_not_sampled_is_delivered_whole_when_one_of_it_failed(failing: str) -> None:
    delivered: list[Span] = []
    root = _tracer(delivered).root("step", SpanKind.CONSUMER, traceparent=NOT_SAMPLED)
    query, write = root.child("query"), root.child("write")
    {"query": query, "step": root}[failing].fail(NotFound("a text that somebody wrote"))
    for span in (query, write, root):
        span.end()
    assert _names(delivered) == ["query", "write", "step"]
    assert [span.attributes.get(ERROR_TYPE) for span in delivered if span.error] == ["not_found"]


def test_what_is_kept_is_bounded_and_the_last_of_it_counts() -> None:
    delivered: list[Span] = []
    root = _tracer(delivered).root("step", SpanKind.CONSUMER, traceparent=NOT_SAMPLED)
    for number in range(1000):
        root.child(str(number)).end()
    root.fail("defect")
    root.end()
    assert len(delivered) <= 256
    assert _names(delivered)[-2:] == ["999", "step"]


def test_a_call_that_outlives_its_step_is_delivered_if_the_step_failed() -> None:
    delivered: list[Span] = []
    root = _tracer(delivered).root("step", SpanKind.CONSUMER, traceparent=NOT_SAMPLED)
    late = root.child("late")
    root.fail("defect")
    root.end()
    late.end()
    assert _names(delivered) == ["step", "late"]


@pytest.mark.parametrize("flags", ["00", "01"])
def test_a_dropped_root_leaves_nothing(flags: str) -> None:
    delivered: list[Span] = []
    root = _tracer(delivered).root("step", SpanKind.CONSUMER, traceparent=NOT_SAMPLED[:-2] + flags)
    root.drop()
    root.fail("defect")
    root.end()
    assert delivered == []


@pytest.mark.parametrize(("ratio", "expected"), [(0, 0), (0.25, 250), (1, 1000)])
def test_new_traces_are_sampled_at_the_ratio(ratio: float, expected: int) -> None:
    tracer = _tracer([], ratio=ratio)
    sampled = sum(tracer.root("request", SpanKind.SERVER).traceparent.endswith("-01") for _ in range(1000))
    assert abs(sampled - expected) <= (80 if 0 < ratio < 1 else 0)


def test_a_caller_decides_for_its_trace() -> None:
    assert _tracer([], ratio=0).root("step", SpanKind.SERVER, traceparent=SAMPLED).traceparent.endswith("-01")
    assert _tracer([], ratio=1).root("step", SpanKind.SERVER, traceparent=NOT_SAMPLED).traceparent.endswith("-00")


def test_the_body_of_a_span_sees_it_and_fails_it() -> None:
    delivered: list[Span] = []
    root = _tracer(delivered).root("step", SpanKind.CONSUMER, traceparent=SAMPLED)

    def accept() -> None:
        with entered(root), child_span("accept", {"ragline.tenant": "acme"}) as span:
            assert current_span() is span
            raise KeyError("a text that somebody wrote")

    with pytest.raises(KeyError):
        accept()
    assert current_span() is None
    assert [(span.name, span.error) for span in delivered] == [("accept", "KeyError"), ("step", "KeyError")]
    assert delivered[0].attributes["ragline.tenant"] == "acme"


def test_a_callers_mistake_is_no_failure() -> None:
    delivered: list[Span] = []
    root = _tracer(delivered).root("step", SpanKind.SERVER, traceparent=NOT_SAMPLED)
    with pytest.raises(NotFound), entered(root):
        raise NotFound("There is no such thing")
    assert delivered == []


def test_without_a_span_there_are_none_below() -> None:
    with child_span("accept") as span:
        assert span is None


def test_another_thread_ends_spans_while_the_root_ends() -> None:
    delivered: list[Span] = []
    root = _tracer(delivered).root("step", SpanKind.CONSUMER, traceparent=NOT_SAMPLED)
    root.fail("defect")
    spans = [root.child(str(number)) for number in range(200)]

    def end_all() -> None:
        for span in spans:
            span.end()

    thread = threading.Thread(target=end_all)
    thread.start()
    root.end()
    thread.join()
    assert len(delivered) + len(root._part._kept) == 201


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # from Python 3.12 on: it has threads
def test_the_child_of_a_fork_traces_nothing_of_its_parents() -> None:
    use_tracer(_tracer([]))
    try:
        root = _tracer([]).root("step", SpanKind.CONSUMER)
        with entered(root):
            child = os.fork()
            if not child:
                os._exit(0 if active_tracer() is None and current_span() is None else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert active_tracer() is not None
    finally:
        use_tracer(None)
