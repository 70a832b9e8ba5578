"""What records look like from outside: the `next` sentence, the original's words, titles of errors."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from ragline.api.replies import (
    collection_reply,
    document_reply,
    job_reply,
    state_of_step,
    submission_reply,
    task_status,
    tasks_info,
)
from ragline.common.errors import NoText, NotFound, TransientError
from ragline.common.models import (
    CollectionRecord,
    DocumentRecord,
    DocumentState,
    JobError,
    JobRecord,
    JobState,
    QueueStatus,
    Submission,
)
from ragline.common.queues import CANVAS_TASKS, ROUTES, JobKind, Queue, Step

NOON_MS = 1_767_268_800_000
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _job(**changes: Any) -> JobRecord:  # noqa: ANN401 - the fields of a job
    job = JobRecord(
        id="job_1",
        tenant="default",
        kind=JobKind.INGEST,
        state=JobState.QUEUED,
        step=Step.INDEX,
        step_state="queued",
        queue=Queue.VECTORSTORE,
        collection="papers",
        document_id="doc_1",
        version=1,
        params={},
        result=None,
        attempts=0,
        interruptions=0,
        crashes=0,
        progress_done=0,
        progress_total=0,
        progress_unit="",
        error=None,
        cancel_requested=False,
        worker="",
        created_at=NOON_MS,
        started_at=0,
        finished_at=0,
        retry_at=0,
        traceparent=TRACEPARENT,
        request_id="req_1",
    )
    return replace(job, **changes)


def _document(**changes: Any) -> DocumentRecord:  # noqa: ANN401 - the fields of a document
    document = DocumentRecord(
        id="doc_1",
        tenant="default",
        collection="papers",
        physical="ragline-local-mini",
        name="a.pdf",
        state=DocumentState.INDEXED,
        version=2,
        accepted_version=3,
        job_id="job_1",
        sha256="ab",
        size_bytes=10,
        pages=4,
        chunks=9,
        error=None,
        created_at=NOON_MS,
        updated_at=NOON_MS,
    )
    return replace(document, **changes)


def _queue(queue: Queue, *workers: str) -> QueueStatus:
    return QueueStatus(queue=queue, waiting=2, in_flight=1, workers=workers)


LEASED = {"state": JobState.RUNNING, "step_state": "leased", "worker": "vectorstore@pod-1"}
DELAYED = {"state": JobState.RUNNING, "step_state": "delayed", "retry_at": NOON_MS}


@pytest.mark.parametrize(
    ("changes", "workers", "sentence"),
    [
        ({}, None, "The next free worker of queue vectorstore takes step index"),
        ({}, ["w"], "The next free worker of queue vectorstore takes step index"),
        ({}, [], "Queue vectorstore has no worker: one has to wake up or be started"),
        (LEASED, ["w"], "vectorstore@pod-1 is working on step index"),
        (LEASED, [], "vectorstore@pod-1 is working on step index"),
        (DELAYED, ["w"], "Step index is tried again at 2026-01-01T12:00:00+00:00"),
        (DELAYED, [], "Step index is tried again at 2026-01-01T12:00:00+00:00"),
        ({**LEASED, "cancel_requested": True}, ["w"], "It ends at its next step forward: it was cancelled"),
        ({"state": JobState.SUCCEEDED, "step_state": "done"}, None, "Nothing: the job has ended"),
        ({"state": JobState.FAILED, "step_state": "done"}, [], "Nothing: the job has ended"),
        ({"state": JobState.CANCELLED, "cancel_requested": True}, None, "Nothing: the job has ended"),
    ],
    ids=[
        "queued",
        "queued-with-workers",
        "queued-without-workers",
        "leased",
        "leased-by-the-last-worker",
        "delayed",
        "delayed-without-workers",
        "cancel-requested",
        "succeeded",
        "failed",
        "cancelled",
    ],
)
def test_what_happens_next_is_one_sentence(changes: dict[str, Any], workers: list[str] | None, sentence: str) -> None:
    assert job_reply(_job(**changes, workers=None if workers is None else tuple(workers))).next == sentence


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (JobState.QUEUED, "Task submitted"),
        (JobState.RUNNING, "Processing"),
        (JobState.SUCCEEDED, "Completed"),
        (JobState.FAILED, "Failed"),
        (JobState.CANCELLED, "Failed"),
    ],
)
def test_states_are_in_the_words_of_the_original(state: JobState, words: str) -> None:
    job = _job(result={"sum": 3}, error=JobError(code="no_text", detail="No page of 3 holds text"))

    status = task_status("job_1.index", job, state)

    assert (status.task_id, status.status) == ("job_1.index", words)
    assert status.result == ({"sum": 3} if words == "Completed" else None)
    assert (status.error is not None) == (words == "Failed")


def test_every_state_has_a_word() -> None:
    assert all(task_status("t", _job(), state).status for state in JobState)


def test_an_error_bears_the_title_of_its_class() -> None:
    error = job_reply(_job(error=JobError(code="no_text", detail="No page of 3 holds text"))).error

    assert error is not None
    assert (error.code, error.title, error.retryable) == ("no_text", NoText.title, False)
    assert error.detail == "No page of 3 holds text"


def test_an_error_says_whether_another_try_makes_sense() -> None:
    error = document_reply(_document(error=JobError(code="dependency_unavailable", detail="chroma add: x"))).error

    assert error is not None
    assert (error.title, error.retryable) == (TransientError.title, True)


def test_a_code_of_a_newer_release_keeps_its_name() -> None:
    error = job_reply(_job(error=JobError(code="brand_new", detail="x"))).error

    assert error is not None
    assert (error.code, error.title) == ("brand_new", "Something went wrong on our side")


def test_a_job_tells_where_it_is() -> None:
    reply = job_reply(
        _job(position=3, attempts=2, interruptions=1, progress_done=5, progress_total=9, progress_unit="chunks")
    )

    assert (reply.status, reply.step, reply.queue, reply.queue_position) == ("queued", "index", "vectorstore", 3)
    assert (reply.attempts, reply.interruptions) == (2, 1)
    assert reply.progress.model_dump() == {"done": 5, "total": 9, "unit": "chunks"}
    assert (reply.trace_id, reply.request_id) == ("0af7651916cd43dd8448eb211c80319c", "req_1")
    assert (reply.created_at, reply.started_at, reply.finished_at) == (NOON, None, None)
    assert reply.links == {
        "self": "/v1/jobs/job_1",
        "events": "/v1/jobs/job_1/events",
        "document": "/v1/documents/doc_1",
    }


def test_a_job_without_document_and_collection_links_to_neither() -> None:
    reply = job_reply(_job(document_id="", collection="", started_at=NOON_MS, finished_at=NOON_MS))

    assert (reply.document_id, reply.collection) == (None, None)
    assert "document" not in reply.links
    assert (reply.started_at, reply.finished_at) == (NOON, NOON)


def test_a_document_knows_the_workers_of_its_job_s_queue() -> None:
    reply = document_reply(_document(), job=_job(workers=("vectorstore@b", "vectorstore@c")))

    assert reply.workers == ["vectorstore@b", "vectorstore@c"]
    assert reply.job is not None
    assert reply.job.next == "The next free worker of queue vectorstore takes step index"
    assert (reply.version, reply.accepted_version, reply.pages, reply.chunks) == (2, 3, 4, 9)


def test_a_document_whose_queue_sleeps_says_so() -> None:
    reply = document_reply(_document(), job=_job(workers=()))

    assert reply.job is not None
    assert reply.job.next == "Queue vectorstore has no worker: one has to wake up or be started"


def test_a_document_outlives_the_memory_of_its_job() -> None:
    reply = document_reply(_document())

    assert (reply.job, reply.workers, reply.state) == (None, [], "indexed")
    assert reply.links == {"self": "/v1/documents/doc_1", "job": "/v1/jobs/job_1"}


def test_a_collection_names_its_space_and_its_addresses() -> None:
    record = CollectionRecord(
        tenant="default",
        name="papers",
        generation=7,
        space="local/mini",
        physical="ragline-local-mini",
        documents=2,
        chunks=30,
        created_at=NOON_MS,
    )

    reply = collection_reply(record)

    assert (reply.documents, reply.chunks, reply.generation, reply.embedding_space) == (2, 30, 7, "local/mini")
    assert reply.links["queries"] == "/v1/collections/papers/queries"
    assert "ragline-local-mini" not in reply.model_dump_json()


@pytest.mark.parametrize(
    ("changes", "states"),
    [
        ({"step": Step.CONVERT}, ["queued", "queued", "queued"]),
        ({"step": Step.SPLIT, "state": JobState.RUNNING, "step_state": "leased"}, ["succeeded", "running", "queued"]),
        ({"step": Step.SPLIT, "state": JobState.RUNNING}, ["succeeded", "queued", "queued"]),
        ({"step": Step.SPLIT, "state": JobState.FAILED, "step_state": ""}, ["succeeded", "failed", "failed"]),
        ({"step": Step.INDEX, "state": JobState.SUCCEEDED, "step_state": ""}, ["succeeded"] * 3),
    ],
)
def test_a_step_is_as_far_as_its_job(changes: dict[str, Any], states: list[str]) -> None:
    job = _job(**changes)

    assert [state_of_step(job, step) for step in (Step.CONVERT, Step.SPLIT, Step.INDEX)] == states


@pytest.mark.parametrize("step", ["", "answer", "x", "convert.", "CONVERT"])
def test_a_step_that_the_job_has_not_is_unknown(step: str) -> None:
    with pytest.raises(NotFound):
        state_of_step(_job(), step)


def test_accepted_work_links_to_its_job_and_document() -> None:
    done = Submission(job_id="job_1", document_id="doc_1", unchanged=True, status=JobState.SUCCEEDED)
    upload = submission_reply(done)
    question = submission_reply(Submission(job_id="job_2"))

    assert (upload.unchanged, upload.status, question.status) == (True, "succeeded", "queued")
    assert upload.links["document"] == "/v1/documents/doc_1"
    assert question.links == {"job": "/v1/jobs/job_2", "events": "/v1/jobs/job_2/events"}


def test_the_overview_names_every_queue_and_task_once() -> None:
    info = tasks_info([_queue(queue, f"{queue}@a") for queue in Queue])

    assert [queue.name for queue in info.queues] == list(Queue)
    assert all(queue.purpose and (queue.waiting, queue.in_flight) == (2, 1) for queue in info.queues)
    assert sorted(task for queue in info.queues for task in queue.tasks) == info.registered_tasks
    assert set(info.registered_tasks) == {route.task for route in ROUTES.values()} | CANVAS_TASKS.keys()
    assert info.queues[0].workers == ["default@a"]
