"""Trace context: made at the edge, kept in the job record, carried in message headers."""

from dataclasses import dataclass

from ragline.common.identifiers import random_hex
from ragline.common.spans import active_tracer
from ragline.common.traceparent import is_traceparent, trace_id_of, traceparent_of

__all__ = ["TraceContext", "new_trace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """Who a request is, for logs, records and messages."""

    traceparent: str
    request_id: str

    @property
    def ids(self) -> tuple[str, str]:
        """Request id and trace id, as a problem tells them."""
        return self.request_id, self.trace_id

    @property
    def headers(self) -> dict[str, str]:
        """As message headers."""
        return {"traceparent": self.traceparent, "request_id": self.request_id}

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return trace_id_of(self.traceparent)


def new_trace(*, traceparent: str | None = None, request_id: str | None = None) -> TraceContext:
    """A context that continues the caller's trace when it sent a valid one, or starts a new one."""
    return TraceContext(
        traceparent=traceparent if is_traceparent(traceparent) else _new_traceparent(),
        request_id=request_id or f"req_{random_hex(16)}",
    )


def _new_traceparent() -> str:
    tracer, trace_id = active_tracer(), random_hex(32)
    sampled = tracer is None or tracer.samples(trace_id)
    return traceparent_of(trace_id, random_hex(16), sampled=sampled)
