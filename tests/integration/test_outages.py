"""Parts that die, freeze or go away: bounded waits for callers, nothing lost, nothing indexed twice."""

import time
from collections.abc import Iterator

import httpx2
import pytest

from ragline.common.constants import BROKER_TIMEOUT_SECONDS
from ragline.common.queues import Queue
from tests.support import pdfs
from tests.support.stack import Stack, running_stack
from tests.support.waiting import wait_until

_SLOW_PAGES = 2000
"""Enough for pypdf to read for several seconds."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service of its own, whose parts may be killed."""
    with running_stack(tmp_path_factory.mktemp("outages"), {"PDF_ENGINE": "pypdf"}) as running:
        yield running


@pytest.fixture(autouse=True)
def _healthy(stack: Stack) -> None:
    """Whatever the test before did to the parts is over."""
    wait_until(lambda: stack.client.get("/readyz").is_success, timeout_seconds=20)


def test_a_killed_worker_loses_nothing(stack: Stack) -> None:
    submission = stack.upload("killed", "long.pdf", pdfs.long_text_pdf(_SLOW_PAGES, 7))
    document = f"/v1/documents/{submission['document_id']}"
    wait_until(lambda: stack.client.get(document).json()["state"] == "converting", timeout_seconds=20)

    stack.workers[Queue.DOCUMENT].kill()
    killed_at = time.monotonic()
    stack.workers[Queue.DOCUMENT].restart()

    job_path = f"/v1/jobs/{submission['job_id']}"
    wait_until(lambda: stack.client.get(job_path).json()["attempts"] == 2, timeout_seconds=35)
    assert time.monotonic() - killed_at <= 32  # the promised 30 s, and a look every 20 ms
    job = stack.client.delete(job_path).json()
    assert stack.finished_job(job["id"])["status"] == "cancelled"


def test_a_worker_told_to_stop_hands_its_step_back(stack: Stack) -> None:
    submission = stack.upload("stopped", "long.pdf", pdfs.long_text_pdf(_SLOW_PAGES, 8))
    document = f"/v1/documents/{submission['document_id']}"
    wait_until(lambda: stack.client.get(document).json()["state"] == "converting", timeout_seconds=20)

    started = time.monotonic()
    stack.workers[Queue.DOCUMENT].stop()
    stopped_after = time.monotonic() - started

    job = stack.client.get(f"/v1/jobs/{submission['job_id']}").json()
    assert stopped_after < 5
    assert (job["attempts"], job["interruptions"], job["queue_position"]) == (0, 1, 0)
    assert job["next"] == "Queue document has no worker: one has to wake up or be started"
    stack.workers[Queue.DOCUMENT].restart()
    stack.client.delete(f"/v1/jobs/{submission['job_id']}")
    assert stack.finished_job(submission["job_id"])["status"] == "cancelled"


def test_a_frozen_redis_costs_a_caller_two_seconds(stack: Stack) -> None:
    stack.valkey.freeze()
    try:
        for path in ("/tasks/info", "/v1/collections", "/readyz", f"/v1/jobs/job_{'0' * 24}"):
            started = time.monotonic()
            reply = stack.client.get(path)
            assert time.monotonic() - started <= BROKER_TIMEOUT_SECONDS + 0.3
            assert (reply.status_code, reply.json()["code"]) == (503, "dependency_unavailable")
            assert reply.headers["retry-after"]
        assert stack.client.get("/healthz").status_code == 200
    finally:
        stack.valkey.thaw()
    wait_until(lambda: stack.client.get("/readyz").is_success, timeout_seconds=10)


def test_a_killed_redis_keeps_what_it_accepted(stack: Stack) -> None:
    stack.workers[Queue.DOCUMENT].freeze()
    submission = stack.upload("durable", "note.pdf", pdfs.text_pdf(["Durable words."]))

    stack.valkey.kill()
    refused = stack.client.post("/tasks/process", json={"data": "x"})
    stack.valkey.restart()
    stack.workers[Queue.DOCUMENT].thaw()

    assert (refused.status_code, refused.json()["retryable"]) == (503, True)
    assert stack.finished_job(submission["job_id"])["status"] == "succeeded"
    assert stack.verify("durable")["consistent"]


def test_an_upload_while_redis_is_away_is_refused_and_works_later(stack: Stack) -> None:
    stack.valkey.kill()
    reply = stack.client.post("/v1/collections/away/documents", files={"file": ("a.pdf", pdfs.text_pdf(["x"]))})
    stack.valkey.restart()

    assert reply.status_code == 503
    wait_until(lambda: stack.client.get("/readyz").is_success, timeout_seconds=20)
    assert stack.client.get("/v1/collections/away").status_code == 404
    assert stack.ingest("away", "a.pdf", pdfs.text_pdf(["x"]))["status"] == "succeeded"


def test_ingest_waits_for_chroma_and_questions_say_503(stack: Stack) -> None:
    assert stack.ingest("patient", "first.pdf", pdfs.text_pdf(["The first note."]))["status"] == "succeeded"
    stack.chroma.kill()
    submission = stack.upload("patient", "second.pdf", pdfs.text_pdf(["The second note is blue."]))
    job_path = f"/v1/jobs/{submission['job_id']}"

    started = time.monotonic()
    reply = stack.client.post("/v1/collections/patient/queries", json={"question": "Which note is blue?"})
    assert (reply.status_code, reply.json()["code"]) == (503, "attempts_exhausted")
    assert "chroma" in reply.json()["detail"]
    assert time.monotonic() - started < 20
    wait_until(lambda: "tried again" in stack.client.get(job_path).json()["next"], timeout_seconds=20)
    waiting = stack.client.get(job_path).json()
    assert (waiting["status"], waiting["error"]["code"]) == ("running", "dependency_unavailable")
    assert "chroma" in stack.client.get("/readyz").json()["detail"]
    stack.chroma.restart()

    assert stack.finished_job(submission["job_id"])["status"] == "succeeded"
    assert "blue" in stack.ask("patient", "Which note is blue?")["answer"]


def test_a_reader_who_leaves_ends_the_answer(stack: Stack) -> None:
    stack.ingest("left", "note.pdf", pdfs.text_pdf(["A note."]))
    stack.workers[Queue.RAG].freeze()
    headers = {"Accept": "text/event-stream"}
    try:
        with stack.client.stream(
            "POST", "/v1/collections/left/queries", json={"question": "Why?"}, headers=headers
        ) as reply:
            job_path = reply.headers["location"]
        wait_until(lambda: stack.client.get(job_path).json()["status"] == "cancelled", timeout_seconds=10)
    finally:
        stack.workers[Queue.RAG].thaw()


def test_a_stream_says_when_redis_goes_away(stack: Stack) -> None:
    stack.ingest("streamed", "note.pdf", pdfs.text_pdf(["A note."]))
    stack.workers[Queue.RAG].freeze()
    headers = {"Accept": "text/event-stream"}
    try:
        with stack.client.stream(
            "POST", "/v1/collections/streamed/queries", json={"question": "Why?"}, headers=headers
        ) as reply:
            stack.valkey.kill()
            text = "".join(reply.iter_text())
    except httpx2.HTTPError as error:
        pytest.fail(f"the stream broke instead of ending: {error!r}")
    finally:
        stack.valkey.restart()
        stack.workers[Queue.RAG].thaw()
        wait_until(lambda: stack.client.get("/readyz").is_success, timeout_seconds=20)
    assert "event: error" in text
    assert "dependency_unavailable" in text
