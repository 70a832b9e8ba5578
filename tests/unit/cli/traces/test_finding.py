from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import httpx2
import pytest

from ragline.cli.client import RaglineClient
from ragline.cli.failures import ApiFailure
from ragline.cli.traces.finding import find_trace
from ragline.cli.traces.jaeger import trace_json
from ragline.cli.traces.spans import Span
from tests.support.fake_api import FakeApi, events

TRACE = "0af7651916cd43dd8448eb211c80319c"
JAEGER = "http://jaeger.example.org/ui/"
SPAN = Span(trace_id=TRACE, span_id="00000000000000aa", name="POST", service="api", start_us=1, end_us=2)
JOB = {
    "id": "job_1",
    "kind": "ingest",
    "status": "succeeded",
    "trace_id": TRACE,
    "created_at": "2025-11-24T16:00:00Z",
    "finished_at": "2025-11-24T16:00:04Z",
}
COURSE = events(("progress", {"step": "convert", "attempt": 1, "waited_ms": 5}), ("done", {"state": "succeeded"}))

Answer = Callable[[httpx2.Response | Exception], list[str]]


@pytest.fixture
def client() -> RaglineClient:
    document = {"state": "indexed", "job": JOB}
    replies = {
        "GET /v1/jobs/job_1": [httpx2.Response(200, json=JOB)],
        "GET /v1/jobs/job_1/events": [COURSE],
        "GET /v1/documents/doc_1": [httpx2.Response(200, json=document)],
        "GET /v1/documents/doc_2": [httpx2.Response(200, json={**document, "job": None})],
    }
    return RaglineClient("http://127.0.0.1:8000", transport=FakeApi(replies).transport)


@pytest.fixture
def jaeger(monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Lets Jaeger answer this; the addresses it is asked."""

    def answer(reply: httpx2.Response | Exception) -> list[str]:
        asked: list[str] = []

        def get(url: str, **options: object) -> httpx2.Response:
            asked.append(url)
            if isinstance(reply, Exception):
                raise reply
            reply.request = httpx2.Request("GET", url)
            return reply

        monkeypatch.setattr(httpx2, "get", get)
        return asked

    return answer


@pytest.mark.parametrize("name", ["job_1", "doc_1", TRACE, TRACE.upper(), f"00-{TRACE}-00000000000000aa-01"])
def test_a_trace_that_is_collected_comes_from_there(client: RaglineClient, jaeger: Answer, name: str) -> None:
    asked = jaeger(httpx2.Response(200, json=trace_json([SPAN])))
    found = find_trace(name, client, jaeger_url=JAEGER)
    assert (found.spans, found.source, found.trace_id, found.notes) == ((SPAN,), JAEGER, TRACE, ())
    assert asked == [f"http://jaeger.example.org/ui/api/traces/{TRACE}"]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            httpx2.Response(404, json={"data": None, "errors": [{"code": 404, "msg": "trace not found"}]}),
            "has no trace",
        ),
        (httpx2.Response(200, text="<html>"), "does not speak Jaeger's HTTP API"),
        (httpx2.Response(404, text="page not found"), "does not speak Jaeger's HTTP API"),
        (httpx2.Response(200, json={"data": [{"spans": 5}]}), "does not speak Jaeger's HTTP API"),
        (httpx2.Response(502), "does not give the trace"),
        (httpx2.ConnectError("refused"), "does not give the trace: refused"),
    ],
)
def test_what_is_not_there_comes_from_the_ledger_and_is_said_so(
    client: RaglineClient, jaeger: Answer, reply: httpx2.Response | Exception, said: str
) -> None:
    jaeger(reply)
    found = find_trace("doc_1", client, jaeger_url=JAEGER)
    assert (found.source, [span.name for span in found.spans]) == ("ledger", ["ingest", "queue wait", "convert"])
    assert said in found.notes[0]


STEP = Span(trace_id=TRACE, span_id="00000000000000bb", parent_id=SPAN.span_id, name="index", start_us=1, end_us=2**60)
CALL = Span(trace_id=TRACE, span_id="00000000000000cc", parent_id=STEP.span_id, name="chroma add", start_us=1, end_us=2)


@pytest.mark.parametrize("first", [(), (SPAN,), (SPAN, CALL)])
def test_spans_of_a_job_that_has_just_ended_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, first: tuple[Span, ...]
) -> None:
    whole = [SPAN, STEP, CALL]
    arrived = list(first)

    def get(url: str, **options: object) -> httpx2.Response:
        reply = trace_json(arrived) if arrived else {"data": None}
        return httpx2.Response(200, json=reply, request=httpx2.Request("GET", url))

    def arrive(seconds: float) -> None:
        arrived[:] = whole

    monkeypatch.setattr(httpx2, "get", get)
    job = {**JOB, "finished_at": datetime.now(UTC).isoformat()}
    replies = {"GET /v1/jobs/job_1": [httpx2.Response(200, json=job)]}
    client = RaglineClient("http://127.0.0.1:8000", transport=FakeApi(replies).transport)
    found = find_trace("job_1", client, jaeger_url=JAEGER, pause=arrive)
    assert (list(found.spans), found.notes) == (whole, ())


def test_a_trace_with_gaps_says_so(client: RaglineClient, jaeger: Answer) -> None:
    jaeger(httpx2.Response(200, json=trace_json([SPAN, CALL])))
    assert "are missing: 1" in find_trace("job_1", client, jaeger_url=JAEGER).notes[0]


def test_a_caller_of_ours_that_traces_elsewhere_is_no_gap(client: RaglineClient, jaeger: Answer) -> None:
    jaeger(httpx2.Response(200, json=trace_json([replace(SPAN, kind="server", parent_id="00000000000000dd")])))
    assert find_trace("job_1", client, jaeger_url=JAEGER).notes == ()


def test_without_an_address_the_ledger_is_asked(client: RaglineClient) -> None:
    found = find_trace("job_1", client, jaeger_url=None)
    assert found.source == "ledger"
    assert "JAEGER_URL" in found.notes[0]


def test_a_trace_id_alone_says_nothing_to_the_ledger(client: RaglineClient) -> None:
    with pytest.raises(ApiFailure, match="give the job's or the document's id"):
        find_trace(TRACE, client, jaeger_url=None)


def test_a_job_that_is_forgotten_is_said_so(client: RaglineClient) -> None:
    with pytest.raises(ApiFailure, match="no longer remembers the newest job of doc_2, which is indexed"):
        find_trace("doc_2", client, jaeger_url=None)
