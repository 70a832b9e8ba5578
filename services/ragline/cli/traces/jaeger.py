"""Traces in the JSON of Jaeger's HTTP API (``GET /api/traces/{id}``), written and read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ragline.cli.traces.spans import Link, Moment, Span, Value

__all__ = ["NotJaeger", "read_trace", "trace_json"]

_TRACE_DIGITS, _SPAN_DIGITS = 32, 16

_OWN_TAGS = {"error", "otel.status_code", "otel.status_description", "span.kind"}
"""Tags that stand for fields of a span."""


class NotJaeger(Exception):
    """The JSON is not a trace as Jaeger writes one."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Tag(_Model):
    key: str
    value: str | bool | int | float


class _Reference(_Model):
    kind: str = Field("CHILD_OF", alias="refType")
    trace_id: str = Field(alias="traceID")
    span_id: str = Field(alias="spanID")


class _Log(_Model):
    timestamp: int
    fields: list[_Tag] = []


class _Span(_Model):
    trace_id: str = Field(alias="traceID")
    span_id: str = Field(alias="spanID")
    name: str = Field(alias="operationName")
    references: list[_Reference] | None = None
    start: int = Field(alias="startTime")
    duration: int
    tags: list[_Tag] | None = None
    logs: list[_Log] | None = None
    process: str = Field("", alias="processID")


class _Process(_Model):
    service: str = Field("", alias="serviceName")


class _Trace(_Model):
    spans: list[_Span]
    processes: dict[str, _Process] = {}


class _Reply(_Model):
    data: list[_Trace] | None = None


def read_trace(reply: object) -> list[Span]:
    """The spans of a reply; none when it holds no trace.

    Raises
    ------
    NotJaeger
        The reply is something else.
    """
    try:
        traces = _Reply.model_validate(reply).data or []
    except ValidationError as error:
        raise NotJaeger(str(error)) from error
    return [_read_span(span, trace.processes) for trace in traces for span in trace.spans]


def trace_json(spans: Sequence[Span]) -> dict[str, Any]:
    """The reply with one trace."""
    services = {service: f"p{number}" for number, service in enumerate(sorted({span.service for span in spans}), 1)}
    trace = {
        "traceID": spans[0].trace_id,
        "spans": [_span_json(span, services) for span in spans],
        "processes": {process: {"serviceName": service, "tags": []} for service, process in services.items()},
        "warnings": None,
    }
    return {"data": [trace], "total": 0, "limit": 0, "offset": 0, "errors": None}


def _read_span(span: _Span, processes: Mapping[str, _Process]) -> Span:
    tags = {tag.key: tag.value for tag in span.tags or []}
    trace_id = span.trace_id.zfill(_TRACE_DIGITS)
    references = [
        (reference.kind, reference.trace_id.zfill(_TRACE_DIGITS), reference.span_id.zfill(_SPAN_DIGITS))
        for reference in span.references or []
    ]
    parents = [span_id for kind, trace, span_id in references if kind == "CHILD_OF" and trace == trace_id]
    links = [(trace, span_id) for _, trace, span_id in references if span_id not in parents[:1]]
    return Span(
        trace_id=trace_id,
        span_id=span.span_id.zfill(_SPAN_DIGITS),
        parent_id=parents[0] if parents else "",
        name=span.name,
        service=processes[span.process].service if span.process in processes else "",
        kind=str(tags.get("span.kind", "internal")),
        start_us=span.start,
        end_us=span.start + span.duration,
        failed=str(tags.get("error", "")).lower() == "true",
        message=str(tags.get("otel.status_description", "")),
        attributes={key: value for key, value in tags.items() if key not in _OWN_TAGS},
        links=tuple(Link(trace_id=trace, span_id=span_id) for trace, span_id in links),
        moments=tuple(_read_log(log) for log in span.logs or []),
    )


def _read_log(log: _Log) -> Moment:
    fields = {tag.key: tag.value for tag in log.fields}
    return Moment(at_us=log.timestamp, name=str(fields.pop("event", "")), attributes=fields)


def _span_json(span: Span, services: Mapping[str, str]) -> dict[str, Any]:
    own: dict[str, Value] = {"span.kind": span.kind}
    if span.failed:
        own |= {"error": True, "otel.status_code": "ERROR", "otel.status_description": span.message}
    parent = [("CHILD_OF", span.trace_id, span.parent_id)] if span.parent_id else []
    links = [("FOLLOWS_FROM", link.trace_id, link.span_id) for link in span.links]
    return {
        "traceID": span.trace_id,
        "spanID": span.span_id,
        "operationName": span.name,
        "references": [
            {"refType": kind, "traceID": trace_id, "spanID": span_id} for kind, trace_id, span_id in parent + links
        ],
        "startTime": span.start_us,
        "duration": span.duration_us,
        "tags": _tags({**span.attributes, **own}.items()),
        "logs": [
            {"timestamp": moment.at_us, "fields": _tags([("event", moment.name), *moment.attributes.items()])}
            for moment in span.moments
        ],
        "processID": services[span.service],
        "warnings": None,
    }


def _tags(values: Iterable[tuple[str, Value]]) -> list[dict[str, Any]]:
    return [{"key": key, "type": _type(value), "value": value} for key, value in values]


def _type(value: Value) -> str:
    match value:
        case bool():
            return "bool"
        case int():
            return "int64"
        case float():
            return "float64"
        case _:
            return "string"
