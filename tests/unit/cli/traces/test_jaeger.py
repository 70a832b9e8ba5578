import json
from pathlib import Path

import pytest

from ragline.cli.traces.jaeger import NotJaeger, read_trace, trace_json
from ragline.cli.traces.spans import Link, Moment, Span, in_order
from ragline.common.span_names import ATTEMPT

TRACE = "0af7651916cd43dd8448eb211c80319c"
FULL = Span(
    trace_id=TRACE,
    span_id="00f067aa0ba902b7",
    parent_id="00000000000000aa",
    name="convert",
    service="ragline-worker",
    kind="consumer",
    start_us=5,
    end_us=25,
    failed=True,
    message="lost",
    attributes={"ragline.attempt": 2, "ragline.queue": "document", "cold": True, "share": 0.5},
    links=(Link(trace_id=TRACE, span_id="00000000000000bb"), Link(trace_id="a" * 32, span_id="00000000000000cc")),
    moments=(Moment(at_us=7, name="exception", attributes={"exception.type": "Lost"}),),
)
PLAIN = Span(trace_id=TRACE, span_id="00000000000000aa", name="POST", service="ragline-api", start_us=0, end_us=30)

SHAPE = {
    "data": [
        {
            "traceID": "651916cd43dd8448eb211c80319c",
            "spans": [
                {
                    "traceID": "651916cd43dd8448eb211c80319c",
                    "spanID": "67aa0ba902b7",
                    "operationName": "answer",
                    "references": [
                        {"refType": "CHILD_OF", "traceID": "651916cd43dd8448eb211c80319c", "spanID": "aa"},
                        {"refType": "FOLLOWS_FROM", "traceID": "651916cd43dd8448eb211c80319c", "spanID": "bb"},
                    ],
                    "startTime": 1764000000000000,
                    "duration": 1500,
                    "tags": [
                        {"key": "otel.scope.name", "type": "string", "value": "ragline"},
                        {"key": "span.kind", "type": "string", "value": "consumer"},
                        {"key": "error", "type": "bool", "value": True},
                        {"key": "otel.status_description", "type": "string", "value": "timed out"},
                        {"key": "ragline.attempt", "type": "int64", "value": 1},
                    ],
                    "logs": [
                        {
                            "timestamp": 1764000000000900,
                            "fields": [
                                {"key": "event", "type": "string", "value": "exception"},
                                {"key": "exception.type", "type": "string", "value": "TransientError"},
                            ],
                        }
                    ],
                    "processID": "p1",
                    "warnings": None,
                }
            ],
            "processes": {
                "p1": {
                    "serviceName": "ragline-worker",
                    "tags": [{"key": "telemetry.sdk.name", "type": "string", "value": "opentelemetry"}],
                }
            },
            "warnings": None,
        }
    ],
    "total": 0,
    "limit": 0,
    "offset": 0,
    "errors": None,
}
"""With what ours does not have: an error, a link, and ids whose leading zeros are left out, as older ones do."""


def test_what_is_written_is_read_again() -> None:
    assert read_trace(trace_json([PLAIN, FULL])) == [PLAIN, FULL]


def test_what_jaeger_2_answered_is_read() -> None:
    reply = json.loads((Path(__file__).parent / "data" / "jaeger_reply.json").read_text())
    placed = in_order(read_trace(reply))
    assert [(here.depth, here.span.name, here.service) for here in placed] == [
        (0, "POST /v1/collections/{name}/documents", "ragline-api"),
        (1, "accept", ""),
        (1, "convert", "ragline-worker-document"),
        (2, "claim", ""),
    ]
    convert = placed[2].span
    assert (convert.attributes[ATTEMPT], convert.kind, convert.failed) == (1, "consumer", False)


def test_errors_and_links_of_a_reply_are_read() -> None:
    (span,) = read_trace(SHAPE)
    assert (span.trace_id, span.span_id) == ("0000651916cd43dd8448eb211c80319c", "000067aa0ba902b7")
    assert (span.name, span.service, span.kind) == ("answer", "ragline-worker", "consumer")
    assert (span.parent_id, span.failed, span.message) == ("00000000000000aa", True, "timed out")
    assert span.links == (Link(trace_id=span.trace_id, span_id="00000000000000bb"),)
    assert span.attributes == {"otel.scope.name": "ragline", "ragline.attempt": 1}
    assert (span.start_us, span.duration_us) == (1_764_000_000_000_000, 1500)
    assert span.moments[0].attributes == {"exception.type": "TransientError"}


def test_types_of_tags_are_jaegers() -> None:
    tags = trace_json([FULL])["data"][0]["spans"][0]["tags"]
    kinds = {tag["key"]: tag["type"] for tag in tags}
    assert kinds == {
        "ragline.attempt": "int64",
        "ragline.queue": "string",
        "cold": "bool",
        "share": "float64",
        "span.kind": "string",
        "error": "bool",
        "otel.status_code": "string",
        "otel.status_description": "string",
    }


def test_no_trace_is_no_spans() -> None:
    assert read_trace({"data": None, "errors": [{"code": 404, "msg": "trace not found"}]}) == []


@pytest.mark.parametrize("reply", [[], "text", {"data": [{"spans": [{"spanID": 5}]}]}])
def test_something_else_is_refused(reply: object) -> None:
    with pytest.raises(NotJaeger):
        read_trace(reply)
