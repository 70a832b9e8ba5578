"""A collector of spans in this process: OTLP over HTTP, as Jaeger takes it, that keeps all bytes and all spans."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2
from typing_extensions import override

__all__ = ["Collector", "Received", "collector"]

_KINDS = {1: "internal", 2: "server", 3: "client", 5: "consumer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A span as it came; ids are hex digits, times nanoseconds since 1970."""

    service: str
    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    started: int
    ended: int
    failed: bool
    attributes: Mapping[str, Any]
    links: tuple[str, ...]


@dataclass(kw_only=True)
class Collector:
    """The running collector.

    Attributes
    ----------
    bodies
        Every request's bytes.
    headers
        Of the last request.
    hangs
        While set, it takes requests and does not answer.
    """

    url: str
    bodies: list[bytes] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: Event = field(default_factory=Event)
    goes_on: Event = field(default_factory=Event)
    _spans: list[Received] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def spans(self, trace_id: str = "") -> list[Received]:
        """What came of a trace, or of all, by the time of its beginning."""
        with self._lock:
            found = [span for span in self._spans if trace_id in {"", span.trace_id}]
        return sorted(found, key=lambda span: (span.started, span.ended))

    def tree(self, trace_id: str) -> list[str]:
        """The trace as lines, each indented below its parent; a wait stands before the step that it ended with."""
        spans = self.spans(trace_id)
        steps = [span.started for span in spans if span.kind == "consumer"]

        def place(span: Received) -> tuple[int, bool]:
            if span.name != "queue wait":
                return span.started, True
            return max((started for started in steps if started <= span.ended), default=span.started), False

        spans.sort(key=place)
        known = {span.span_id for span in spans}

        def below(parent_id: str, depth: int) -> Iterator[str]:
            for span in spans:
                if span.parent_id == parent_id:
                    yield "  " * depth + span.name
                    yield from below(span.span_id, depth + 1)

        tops = {span.parent_id for span in spans if span.parent_id not in known}
        return [line for parent_id in sorted(tops) for line in below(parent_id, 0)]

    def take(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Keep a request."""
        with self._lock:
            self.bodies.append(body)
            self.headers = headers
            self._spans.extend(_received(body))


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector on a free port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if running.hangs.is_set():
                running.goes_on.wait(60)
                return
            assert self.path == "/v1/traces"
            running.take(body, dict(self.headers.items()))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        @override
        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        protocol_version = "HTTP/1.1"
        request_queue_size = socket.SOMAXCONN

        @override
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A sender that gave up is what some tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        running = Collector(url=f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, name="collector", daemon=True)
        thread.start()
        try:
            yield running
        finally:
            running.goes_on.set()
            server.shutdown()
            thread.join()


def _received(body: bytes) -> Iterator[Received]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = {pair.key: _value(pair.value) for pair in resource.resource.attributes}
        for scope in resource.scope_spans:
            yield from (_span(span, str(about["service.name"])) for span in scope.spans)


def _span(span: trace_pb2.Span, service: str) -> Received:
    return Received(
        service=service,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=_KINDS[span.kind],
        started=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        attributes={pair.key: _value(pair.value) for pair in span.attributes},
        links=tuple(link.span_id.hex() for link in span.links),
    )


def _value(value: AnyValue) -> Any:  # noqa: ANN401 - a union of the protocol
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(item) for item in value.array_value.values)
    return getattr(value, kind) if kind else None
