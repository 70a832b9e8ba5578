"""Traces as an exporter sends them, made by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

__all__ = ["START_US", "TRACE", "WireSpan", "message"]

TRACE = "0af7651916cd43dd8448eb211c80319c"
START_US = 1_764_000_000_000_000


@dataclass(frozen=True, kw_only=True)
class WireSpan:
    """A span to send; ids as hex, times in microseconds after `START_US`."""

    name: str
    span_id: str
    parent_id: str = ""
    trace_id: str = TRACE
    start_us: int = 0
    duration_us: int = 1000
    kind: Span.SpanKind.ValueType = Span.SPAN_KIND_INTERNAL
    error: str | None = None
    attributes: dict[str, str | bool | int | float] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()
    events: tuple[tuple[str, int], ...] = ()


def message(*spans: WireSpan, service: str = "ragline-api") -> bytes:
    """The body of one export."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.extend(_attributes({"service.name": service}))
    scope = resource.scope_spans.add()
    scope.spans.extend(_wire(span) for span in spans)
    body: bytes = request.SerializeToString()
    return body


def _wire(span: WireSpan) -> Span:
    wire = Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_id),
        name=span.name,
        kind=span.kind,
        start_time_unix_nano=(START_US + span.start_us) * 1000,
        end_time_unix_nano=(START_US + span.start_us + span.duration_us) * 1000,
        attributes=_attributes(span.attributes),
        links=[Span.Link(trace_id=bytes.fromhex(trace), span_id=bytes.fromhex(own)) for trace, own in span.links],
        events=[Span.Event(name=name, time_unix_nano=(START_US + at) * 1000) for name, at in span.events],
    )
    if span.error is not None:
        wire.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=span.error))
    return wire


def _attributes(values: dict[str, str | bool | int | float]) -> Sequence[KeyValue]:
    return [KeyValue(key=key, value=_any(value)) for key, value in values.items()]


def _any(value: str | float) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case _:
            return AnyValue(string_value=value)
