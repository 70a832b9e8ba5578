"""OTLP over HTTP with protobuf: what exporters send, as spans.

Format: https://opentelemetry.io/docs/specs/otlp/#otlphttp.
"""

import json
import zlib
from collections.abc import Iterable, Iterator
from math import isfinite

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from ragline.cli.traces.spans import Link, Moment, Span, Value

__all__ = ["MAX_MESSAGE_BYTES", "NotOtlp", "decompressed", "read_spans"]

MAX_MESSAGE_BYTES = 16 * 2**20
"""Largest message, before and after it is decompressed. OpenTelemetry's exporters send at most 512 spans of a few KB
at once, ours 64."""

_TRACE_BYTES, _SPAN_BYTES = 16, 8
_GZIP = 16 + zlib.MAX_WBITS


class NotOtlp(Exception):
    """The body is none of the protocol."""


def decompressed(body: bytes) -> bytes:
    """A gzipped body.

    Raises
    ------
    NotOtlp
        It is not gzip, or too large.
    """
    stream = zlib.decompressobj(_GZIP)
    try:
        message = stream.decompress(body, MAX_MESSAGE_BYTES + 1)
    except zlib.error as error:
        raise NotOtlp(f"the body is not gzip: {error}") from error
    if not stream.eof or len(message) > MAX_MESSAGE_BYTES:
        raise NotOtlp(f"the message is cut off, or has more than {MAX_MESSAGE_BYTES} bytes")
    return message


def read_spans(body: bytes) -> Iterator[tuple[Span, int]]:
    """The spans of a message, each with its size in bytes. One without ids belongs nowhere and is left out.

    Raises
    ------
    NotOtlp
        The message cannot be read.
    """
    try:
        message = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise NotOtlp(f"the message cannot be read: {error}") from error
    for resource in message.resource_spans:
        service = str(_attributes(resource.resource.attributes).get("service.name", ""))
        for scope in resource.scope_spans:
            for span in scope.spans:
                if len(span.trace_id) == _TRACE_BYTES and len(span.span_id) == _SPAN_BYTES:
                    yield _span(span, service), span.ByteSize()


def _span(span: WireSpan, service: str) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        service=service,
        # Kinds of a later release of the protocol are numbers to us.
        kind=_KINDS.get(span.kind, str(span.kind)),
        start_us=span.start_time_unix_nano // 1000,
        end_us=span.end_time_unix_nano // 1000,
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        message=span.status.message,
        attributes=_attributes(span.attributes),
        links=tuple(Link(trace_id=link.trace_id.hex(), span_id=link.span_id.hex()) for link in span.links),
        moments=tuple(
            Moment(at_us=event.time_unix_nano // 1000, name=event.name, attributes=_attributes(event.attributes))
            for event in span.events
        ),
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value" if isfinite(value.double_value):
            return value.double_value
        case None:
            return ""
        case _:
            return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: AnyValue) -> object:
    match value.WhichOneof("value"):
        case "array_value":
            return [_plain(inner) for inner in value.array_value.values]
        case "kvlist_value":
            return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
        case "bytes_value":
            return value.bytes_value.hex()
        case "double_value":
            # JSON has no numbers that are none.
            return value.double_value if isfinite(value.double_value) else str(value.double_value)
        case _:
            return _value(value)


_KINDS = {
    WireSpan.SPAN_KIND_INTERNAL: "internal",
    WireSpan.SPAN_KIND_SERVER: "server",
    WireSpan.SPAN_KIND_CLIENT: "client",
    WireSpan.SPAN_KIND_PRODUCER: "producer",
    WireSpan.SPAN_KIND_CONSUMER: "consumer",
    WireSpan.SPAN_KIND_UNSPECIFIED: "internal",
}
