import gzip

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from ragline.cli.observer.otlp import MAX_MESSAGE_BYTES, NotOtlp, decompressed, read_spans
from ragline.cli.traces.spans import Link, Moment, Span, Value
from tests.support.otlp import START_US, TRACE, WireSpan, message

OWN = "00f067aa0ba902b7"


def value_of(value: AnyValue) -> Value:
    request = ExportTraceServiceRequest.FromString(message(WireSpan(name="a", span_id=OWN)))
    request.resource_spans[0].scope_spans[0].spans[0].attributes.append(KeyValue(key="k", value=value))
    ((span, _),) = read_spans(request.SerializeToString())
    return span.attributes["k"]


def test_a_span_is_read_with_all_that_it_says() -> None:
    sent = WireSpan(
        name="convert",
        span_id=OWN,
        parent_id="00000000000000aa",
        start_us=10,
        duration_us=2500,
        kind=ProtoSpan.SPAN_KIND_CONSUMER,
        error="lost",
        attributes={"attempt": 2, "queue": "document", "cold": True, "share": 0.5},
        links=((TRACE, "00000000000000bb"),),
        events=(("exception", 20),),
    )
    body = message(sent, service="ragline-worker")
    ((span, size),) = read_spans(body)
    assert span == Span(
        trace_id=TRACE,
        span_id=OWN,
        parent_id="00000000000000aa",
        name="convert",
        service="ragline-worker",
        kind="consumer",
        start_us=START_US + 10,
        end_us=START_US + 2510,
        failed=True,
        message="lost",
        attributes={"attempt": 2, "queue": "document", "cold": True, "share": 0.5},
        links=(Link(trace_id=TRACE, span_id="00000000000000bb"),),
        moments=(Moment(at_us=START_US + 20, name="exception"),),
    )
    assert 0 < size < len(body)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (AnyValue(), ""),
        (AnyValue(double_value=float("nan")), '"nan"'),
        (AnyValue(bytes_value=b"\x01\xff"), '"01ff"'),
        (AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue(string_value="é")])), '[1, "é"]'),
        (AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="a", value=AnyValue(int_value=1))])), '{"a": 1}'),
    ],
)
def test_attributes_of_every_kind_are_read(value: AnyValue, read: Value) -> None:
    assert value_of(value) == read


def test_a_span_without_ids_belongs_nowhere() -> None:
    bad = WireSpan(name="bad", span_id="", trace_id="")
    assert [span.name for span, _ in read_spans(message(bad, WireSpan(name="good", span_id=OWN)))] == ["good"]


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(NotOtlp):
        list(read_spans(b"\x0a\xff{}"))


def test_a_gzipped_message_is_opened() -> None:
    assert decompressed(gzip.compress(b"spans")) == b"spans"


@pytest.mark.parametrize(
    "body",
    [b"spans", gzip.compress(b"spans")[:-9], gzip.compress(bytes(MAX_MESSAGE_BYTES + 1))],
    ids=["plain", "cut off", "too large"],
)
def test_what_is_no_gzip_or_too_large_is_refused(body: bytes) -> None:
    with pytest.raises(NotOtlp):
        decompressed(body)
