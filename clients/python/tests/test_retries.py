import io
from pathlib import Path
from uuid import UUID

import httpx2
import pytest

from clients.python.tests.conftest import MakeClient
from clients.python.tests.fake import FakeApi, problem, reply
from ragline_client import ApiError, ConnectionFailed, RateLimited, Timeout, Unavailable
from ragline_client._patience import Patience

JOB = "GET /v1/jobs/job_1"
UPLOAD = "POST /v1/collections/papers/documents"
QUERY = "POST /v1/collections/papers/queries"
RUNNING = {"id": "job_1", "status": "running"}
ANSWER = {"job_id": "job_1", "answer": "Yes.", "answered": True, "citations": []}


class OnePass:
    """A pipe: its bytes come once."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(size)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_the_service_is_given_the_time_it_asks_for(make_client: MakeClient, status: int) -> None:
    api = FakeApi({JOB: [problem(status, retry_after="7"), problem(status, retry_after="0"), reply(RUNNING)]})

    assert make_client(api).job("job_1").status == "running"

    assert api.pauses == [7, 0]


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500])
def test_what_will_not_pass_is_not_tried_again(make_client: MakeClient, status: int) -> None:
    api = FakeApi({JOB: [problem(status, retry_after="1")]})

    with pytest.raises(ApiError):
        make_client(api).job("job_1")

    assert (len(api.requests), api.pauses) == (1, [])


def test_without_a_time_the_pauses_grow_at_random(make_client: MakeClient) -> None:
    api = FakeApi({JOB: [problem(503)]})

    with pytest.raises(Unavailable):
        make_client(api, max_retries=4).job("job_1")

    assert len(api.requests) == 5
    assert all(0 <= pause <= limit for pause, limit in zip(api.pauses, [0.5, 1, 2, 4], strict=True))
    assert len(set(api.pauses)) == 4


def test_a_longer_wait_than_the_client_has_time_for_is_told_at_once(make_client: MakeClient) -> None:
    api = FakeApi({JOB: [problem(429, retry_after="3600")]})

    with pytest.raises(RateLimited) as failure:
        make_client(api, max_retry_seconds=60).job("job_1")

    assert (failure.value.retry_after, api.pauses, len(api.requests)) == (3600, [], 1)


@pytest.mark.parametrize("error", [httpx2.ConnectError, httpx2.ReadError, httpx2.RemoteProtocolError])
def test_a_broken_connection_is_tried_again(make_client: MakeClient, error: type[httpx2.TransportError]) -> None:
    api = FakeApi({JOB: [error("broken"), reply(RUNNING)]})

    assert make_client(api).job("job_1").status == "running"

    assert len(api.pauses) == 1


def test_nobody_there_is_said_with_the_address(make_client: MakeClient) -> None:
    api = FakeApi({JOB: [httpx2.ConnectError("refused")]})

    with pytest.raises(ConnectionFailed, match=r"http://ragline\.test failed: refused"):
        make_client(api, max_retries=2).job("job_1")

    assert len(api.requests) == 3


def test_silence_is_not_waited_for_twice(make_client: MakeClient) -> None:
    api = FakeApi({QUERY: [httpx2.ReadTimeout("silent")]})

    with pytest.raises(Timeout):
        make_client(api).ask("papers", "Why?")

    assert len(api.requests) == 1


def test_all_tries_of_a_call_carry_one_key_and_each_call_its_own(make_client: MakeClient) -> None:
    api = FakeApi({QUERY: [problem(503), httpx2.ReadError("reset"), reply(ANSWER)]})
    client = make_client(api)

    client.ask("papers", "Why?")
    client.ask("papers", "Why?")

    first, second, third, other = api.sent("Idempotency-Key")
    assert first == second == third != other
    assert UUID(first)


@pytest.mark.parametrize("source", ["path", "bytes", "file"])
def test_an_upload_is_sent_again_from_its_beginning(make_client: MakeClient, tmp_path: Path, source: str) -> None:
    path = tmp_path / "paper.pdf"
    path.write_bytes(b"%PDF-1.7 text")
    api = FakeApi({UPLOAD: [httpx2.WriteError("reset"), problem(503), reply({"job_id": "job_1"}, 202)]})
    sources = {"path": path, "bytes": path.read_bytes(), "file": io.BytesIO(path.read_bytes())}

    make_client(api).upload("papers", sources[source], name="paper.pdf", idempotency_key="mine")

    assert api.sent("Idempotency-Key") == ["mine"] * 3
    assert [request.content.count(b"%PDF-1.7 text") for request in api.requests] == [1, 1, 1]


def test_a_file_that_can_be_read_once_is_sent_once(make_client: MakeClient) -> None:
    api = FakeApi({UPLOAD: [problem(503, retry_after="1"), reply({"job_id": "job_1"}, 202)]})

    with pytest.raises(Unavailable):
        make_client(api).upload("papers", OnePass(b"%PDF-1.7 text"), name="paper.pdf")

    assert b"%PDF-1.7 text" in api.requests[0].content
    assert len(api.requests) == 1


def test_patience_ends_with_its_time_and_begins_anew() -> None:
    now = 0.0
    patience = Patience(retries=2, within_seconds=10, clock=lambda: now)
    error = ConnectionFailed("broken")
    patience.pause_after(error)
    now = 10.1
    with pytest.raises(ConnectionFailed):
        patience.pause_after(error)

    patience.restart()

    assert patience.pause_after(error) <= 0.5
    assert patience.pause_after(error) <= 1
    with pytest.raises(ConnectionFailed):
        patience.pause_after(error)
