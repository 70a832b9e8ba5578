from dataclasses import replace

from ragline.cli.observer.memory import Limits, TraceMemory
from ragline.cli.traces.spans import Span
from ragline.common.span_names import DOCUMENT_ID, JOB_ID

SMALL = Limits(traces=3, spans=6, span_bytes=1000, spans_of_one=4, bytes_of_one=600)


def span(trace: str = "t", own: str = "1", **fields: object) -> Span:
    plain = Span(trace_id=trace, span_id=own, name="work", start_us=0, end_us=10)
    return replace(plain, **fields)  # type: ignore[arg-type] # fields of the class


def kept(memory: TraceMemory) -> set[str]:
    return {summary.trace_id for summary in memory.found("", limit=100)}


def test_the_trace_that_was_silent_for_longest_is_forgotten_first() -> None:
    memory = TraceMemory(SMALL)
    for trace in ("a", "b", "c"):
        memory.add([(span(trace), 1)])
    memory.add([(span("a", "2"), 1)])
    memory.add([(span("d"), 1)])
    assert kept(memory) == {"a", "c", "d"}


def test_spans_and_bytes_are_bounded() -> None:
    memory = TraceMemory(SMALL)
    memory.add((span("a", str(number)), 1) for number in range(4))
    memory.add((span("b", str(number)), 1) for number in range(3))
    assert (kept(memory), memory.span_count) == ({"b"}, 3)
    memory.add([(span("c"), 600), (span("d"), 600)])
    assert kept(memory) == {"d"}


def test_one_trace_cannot_take_all_the_room() -> None:
    memory = TraceMemory(SMALL)
    memory.add((span("a", str(number)), 1) for number in range(6))
    memory.add([(span("b"), 601)])
    a, b = memory.summary("a"), memory.summary("b")
    assert (a and a.spans, a and a.dropped) == (4, 2)
    assert (b and b.spans, b and b.dropped) == (0, 1)


def test_a_span_that_is_sent_again_counts_once() -> None:
    memory = TraceMemory(SMALL)
    for _ in range(5):
        memory.add([(span("a"), 300)])
    assert memory.span_count == 1
    memory.add([(span("a", "2"), 300)])
    assert memory.span_count == 2


def test_a_summary_is_about_the_whole_trace() -> None:
    memory = TraceMemory()
    memory.add([(span(own="2", parent_id="1", name="convert", start_us=20, end_us=90, failed=True), 1)])
    early = memory.summary("t")
    assert early is not None
    assert early.name == "convert"
    named = {DOCUMENT_ID: "doc_1", JOB_ID: "job_1"}
    memory.add([(span(own="1", name="POST", service="api", start_us=10, end_us=30, attributes=named), 1)])
    summary = memory.summary("t")
    assert summary is not None
    assert (summary.name, summary.service, summary.start_us, summary.duration_us) == ("POST", "api", 10, 80)
    assert (summary.spans, summary.errors, summary.about) == (2, 1, ["doc_1", "job_1"])


def test_traces_are_found_by_what_their_spans_say() -> None:
    memory = TraceMemory()
    memory.add([(span("a" * 32, attributes={"ragline.job": "job_1"}), 1), (span("b" * 32, message="Timed out"), 1)])
    assert [summary.trace_id for summary in memory.found("JOB_1", limit=9)] == ["a" * 32]
    assert [summary.trace_id for summary in memory.found("ragline.job", limit=9)] == ["a" * 32]
    assert [summary.trace_id for summary in memory.found("timed", limit=9)] == ["b" * 32]
    assert [summary.trace_id for summary in memory.found("aaaa", limit=9)] == ["a" * 32]
    assert memory.found("absent", limit=9) == []


def test_the_newest_come_first_and_only_so_many() -> None:
    memory = TraceMemory()
    memory.add((span(str(number), start_us=number, end_us=number), 1) for number in range(5))
    assert [summary.trace_id for summary in memory.found("", limit=2)] == ["4", "3"]


def test_an_unknown_trace_has_nothing() -> None:
    memory = TraceMemory()
    assert (memory.spans("x"), memory.summary("x")) == ([], None)
