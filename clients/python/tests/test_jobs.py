import pytest

from clients.python.tests.conftest import MakeClient
from clients.python.tests.fake import FakeApi, problem, reply
from ragline_client import Job, JobFailed, RateLimited, Timeout
from ragline_client._waiting import waiting

JOB = "GET /v1/jobs/job_1"
RUNNING = {"id": "job_1", "status": "running", "step": "index", "progress": {"done": 1, "total": 4, "unit": "chunks"}}
ENDED = {"id": "job_1", "status": "succeeded", "result": {"pages": 3}}


def test_a_job_is_waited_for_by_long_polls(make_client: MakeClient) -> None:
    api = FakeApi({JOB: [reply(RUNNING), reply(RUNNING), reply(ENDED)]})

    assert make_client(api).wait("job_1").result == {"pages": 3}

    assert [float(request.url.params["wait"]) for request in api.requests] == [20, 20, 20]
    assert api.requests[0].extensions["timeout"]["read"] == 110
    assert api.pauses == []


def test_progress_is_told_more_often(make_client: MakeClient) -> None:
    told: list[Job] = []
    api = FakeApi({JOB: [reply(RUNNING), reply(ENDED)]})

    make_client(api).wait("job_1", on_progress=told.append)

    assert [(job.status, job.progress.done) for job in told] == [("running", 1), ("succeeded", 0)]
    assert float(api.requests[0].url.params["wait"]) == 5


def test_a_failed_job_says_why(make_client: MakeClient) -> None:
    error = {"code": "no_text", "title": "No text", "detail": "A scan?", "retryable": False}
    api = FakeApi({JOB: [reply({"id": "job_1", "status": "failed", "error": error})]})

    with pytest.raises(JobFailed, match=r"^No text: A scan\? \(code no_text, job job_1\)$") as failure:
        make_client(api).wait("job_1")

    assert (failure.value.code, failure.value.title, failure.value.detail) == ("no_text", "No text", "A scan?")
    assert failure.value.retryable is False


def test_a_cancelled_job_is_no_success(make_client: MakeClient) -> None:
    api = FakeApi(
        {"DELETE /v1/jobs/job_1": [reply(RUNNING, 202)], JOB: [reply({"id": "job_1", "status": "cancelled"})]}
    )
    client = make_client(api)

    assert client.cancel("job_1").status == "running"
    with pytest.raises(JobFailed) as failure:
        client.wait("job_1")

    assert failure.value.code == "cancelled"


def test_waiting_ends_in_time(make_client: MakeClient) -> None:
    api = FakeApi({JOB: [reply({**RUNNING, "next": "it goes on"})]})

    with pytest.raises(Timeout, match=r"job_1 is running after 0 s: it goes on"):
        make_client(api).wait("job_1", timeout_seconds=0)

    assert len(api.requests) == 1


def test_the_last_poll_is_as_long_as_the_time_that_is_left() -> None:
    now = 100.0
    steps = waiting("job_1", timeout_seconds=30, on_progress=None, clock=lambda: now)
    first = next(steps)
    now = 121.5
    second = steps.send(Job(id="job_1", status="running"))
    now = 130.0

    assert (first.hold_seconds, first.within_seconds) == (20, 30)
    assert (second.hold_seconds, second.within_seconds, second.params) == (8.5, 8.5, {"wait": "8.500"})
    with pytest.raises(Timeout):
        steps.send(Job(id="job_1", status="running"))


def test_a_busy_service_does_not_stretch_the_wait(make_client: MakeClient) -> None:
    api = FakeApi({JOB: [problem(429, retry_after="30")]})

    with pytest.raises(RateLimited):
        make_client(api).wait("job_1", timeout_seconds=10)

    assert api.pauses == []


def test_a_handle_knows_its_job(make_client: MakeClient) -> None:
    submission = {"job_id": "job_1", "document_id": "doc_1", "unchanged": True, "status": "succeeded"}
    api = FakeApi(
        {
            "POST /v1/collections/papers/documents": [reply(submission, 202)],
            "DELETE /v1/jobs/job_1": [reply(ENDED, 202)],
            JOB: [reply(ENDED)],
        }
    )

    job = make_client(api).upload("papers", b"%PDF", name="a.pdf")

    assert (job.id, job.document_id, job.submission.unchanged) == ("job_1", "doc_1", True)
    assert job.state() == job.cancel() == job.wait(timeout_seconds=5)
