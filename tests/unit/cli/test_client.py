from pathlib import Path

import httpx2
import pytest

from ragline.cli.client import RaglineClient
from ragline.cli.failures import ApiFailure, ApiUnreachable
from tests.support.fake_api import FakeApi, events, problem

UPLOAD = "POST /v1/collections/papers/documents"
JOB = "GET /v1/jobs/job_1"


def client_of(api: FakeApi, pauses: list[float] | None = None) -> RaglineClient:
    pause = (pauses if pauses is not None else []).append
    return RaglineClient("http://127.0.0.1:8000", api_key="key", transport=api.transport, pause=pause)


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    path = tmp_path / "paper.pdf"
    path.write_bytes(b"%PDF-1.7 text")
    return path


def test_upload_sends_the_file_as_a_form(paper: Path) -> None:
    api = FakeApi({UPLOAD: [httpx2.Response(202, json={"job_id": "job_1", "document_id": "doc_1", "links": {}})]})
    with client_of(api) as client:
        submission = client.upload("papers", paper)
    assert (submission.job_id, submission.document_id, submission.unchanged) == ("job_1", "doc_1", False)
    body = api.requests[0].content
    assert b'name="file"; filename="paper.pdf"' in body
    assert b"%PDF-1.7 text" in body
    assert api.requests[0].headers["X-API-Key"] == "key"


def test_a_busy_api_is_given_the_time_it_asks_for(paper: Path) -> None:
    busy = problem(429, "rate_limited", Retry_After="7")
    api = FakeApi({UPLOAD: [busy, problem(503, "away", Retry_After="300"), httpx2.Response(202, json={"job_id": "j"})]})
    pauses: list[float] = []
    with client_of(api, pauses) as client:
        assert client.upload("papers", paper).job_id == "j"
    assert pauses == [7, 30]
    assert all(b"%PDF-1.7 text" in request.content for request in api.requests)


def test_patience_ends() -> None:
    api = FakeApi({JOB: [problem(503, "dependency_unavailable", Retry_After="2")]})
    with client_of(api) as client, pytest.raises(ApiFailure, match="dependency_unavailable"):
        client.job("job_1")
    assert len(api.requests) == 6


def test_a_problem_becomes_one_sentence() -> None:
    api = FakeApi({JOB: [problem(404, "not_found", title="There is no such thing", detail="There is no such job")]})
    with client_of(api) as client, pytest.raises(ApiFailure) as failure:
        client.job("job_1")
    assert str(failure.value) == "There is no such thing: There is no such job (code not_found, request req_1)"
    assert failure.value.code == "not_found"


def test_a_detail_that_says_nothing_new_is_not_repeated() -> None:
    api = FakeApi({JOB: [problem(500, "internal_error", title="Something went wrong", detail="Something went wrong")]})
    with client_of(api) as client, pytest.raises(ApiFailure, match=r"^Something went wrong \(code"):
        client.job("job_1")


def test_a_problem_in_front_of_a_stream_is_reported_too() -> None:
    api = FakeApi({"POST /v1/collections/papers/queries": [problem(404, "not_found")]})
    with client_of(api) as client, pytest.raises(ApiFailure, match="not_found"):
        list(client.ask_stream("papers", "Why?"))


@pytest.mark.parametrize("reply", [httpx2.Response(502, text="<html>"), httpx2.Response(200, text="<html>")])
def test_an_answer_of_something_else_is_said_plainly(reply: httpx2.Response) -> None:
    with client_of(FakeApi({JOB: [reply]})) as client, pytest.raises(ApiFailure, match=r"/v1/jobs/job_1"):
        client.job("job_1")


def test_a_reply_without_what_is_needed_is_said_plainly() -> None:
    api = FakeApi({JOB: [httpx2.Response(200, json={"id": "job_1"})]})
    with client_of(api) as client, pytest.raises(ApiFailure, match="not understood"):
        client.finished("job_1")


def test_finished_waits_for_the_end() -> None:
    running = httpx2.Response(200, json={"id": "job_1", "status": "running"})
    ended = httpx2.Response(200, json={"id": "job_1", "status": "succeeded", "result": {"pages": 3}})
    api = FakeApi({JOB: [running, running, ended]})
    with client_of(api) as client:
        assert client.finished("job_1").result == {"pages": 3}
    assert [request.url.params["wait"] for request in api.requests] == ["20"] * 3


def test_events_come_in_order_without_heartbeats() -> None:
    api = FakeApi({"GET /v1/jobs/job_1/events": [events(("progress", {"step": "split"}), ("done", {}))]})
    with client_of(api) as client:
        assert [event.event for event in client.events("job_1")] == ["progress", "done"]


def test_a_name_cannot_leave_its_place_in_the_address() -> None:
    api = FakeApi({"GET /v1/jobs/..%2F..%2Fhealthz": [problem(404, "not_found")]})
    with client_of(api) as client, pytest.raises(ApiFailure, match="not_found"):
        client.job("../../healthz")


def test_nobody_there_is_not_a_failure_of_the_api() -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    client = RaglineClient("http://127.0.0.1:8000", transport=httpx2.MockTransport(refuse))
    with client, pytest.raises(ApiUnreachable, match=r"No Ragline API answers at http://127\.0\.0\.1:8000"):
        client.job("job_1")


def test_an_address_that_is_none_is_said_plainly() -> None:
    with pytest.raises(ApiFailure, match="failed"), RaglineClient("not an address") as client:
        client.job("job_1")
