"""A caller's trace is continued when it is one, and never trusted to be one."""

import re

import pytest

from ragline.common.trace_context import TraceContext, new_trace

VALID = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

WELL_FORMED = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01")


@pytest.mark.parametrize("flags", ["00", "01", "ff"])
def test_valid_trace_is_continued(flags: str) -> None:
    sent = VALID[:-2] + flags
    trace = new_trace(traceparent=sent)
    assert trace.traceparent == sent
    assert trace.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        "nonsense",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-00000000000000000000000000000000-0000000000000000-00",
        VALID.upper(),
        VALID + "\n",
        " " + VALID,
        VALID + "-more",
        VALID + "\r\nX-Injected: 1",
        VALID[:-1],
        VALID.replace("00-4", "00-g"),
        VALID.replace("00-4", "01-4"),
        VALID.replace("00-4", "ff-4"),
        VALID.replace("4bf9", "4bf"),
        VALID.replace("4bf9", "4bf99"),
        VALID.replace("-", "_"),
        VALID.replace("00f0", "\u0660\u0660f0"),
        "00-" + "4" * 100_000,
    ],
)
def test_anything_else_is_replaced(sent: str | None) -> None:
    trace = new_trace(traceparent=sent)
    assert WELL_FORMED.fullmatch(trace.traceparent)
    assert trace.trace_id == trace.traceparent.split("-")[1]
    assert trace.trace_id not in (sent or "")


def test_what_is_made_new_is_valid_itself() -> None:
    made = new_trace().traceparent
    assert new_trace(traceparent=made).traceparent == made


def test_new_traces_differ() -> None:
    traces = [new_trace() for _ in range(100)]
    assert len({trace.trace_id for trace in traces}) == len({trace.request_id for trace in traces}) == 100


def test_request_id_is_kept_or_made() -> None:
    assert new_trace(request_id="from-the-caller").request_id == "from-the-caller"
    for none in (None, ""):
        assert re.fullmatch(r"req_[0-9a-f]{16}", new_trace(request_id=none).request_id)


def test_headers_carry_both() -> None:
    trace = new_trace(traceparent=VALID, request_id="req_1")
    assert trace.headers == {"traceparent": VALID, "request_id": "req_1"}
    assert TraceContext(**trace.headers) == trace
