"""Records of the ledger as replies of the API."""

from collections.abc import Sequence
from datetime import UTC, datetime

from fastapi import Response

from ragline.api.schemas import (
    CollectionReply,
    DocumentReply,
    ErrorReply,
    JobReply,
    Progress,
    QueueReply,
    SubmissionReply,
    TasksInfo,
    TaskStatus,
)
from ragline.common.errors import NotFound, error_class
from ragline.common.models import (
    CollectionRecord,
    DocumentRecord,
    JobError,
    JobRecord,
    JobState,
    QueueStatus,
    Submission,
)
from ragline.common.queues import CANVAS_TASKS, FIRST_STEP, NEXT_STEP, ROUTES, Step

__all__ = [
    "accepted",
    "collection_reply",
    "document_reply",
    "job_reply",
    "state_of_step",
    "submission_reply",
    "task_status",
    "tasks_info",
]

_ORIGINAL_WORDS = {
    JobState.QUEUED: "Task submitted",
    JobState.RUNNING: "Processing",
    JobState.SUCCEEDED: "Completed",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Failed",
}


def collection_reply(record: CollectionRecord) -> CollectionReply:
    """One collection."""
    path = f"/v1/collections/{record.name}"
    return CollectionReply(
        name=record.name,
        documents=record.documents,
        chunks=record.chunks,
        generation=record.generation,
        embedding_space=record.space,
        created_at=_moment(record.created_at),
        links={"self": path, "documents": f"{path}/documents", "queries": f"{path}/queries"},
    )


def document_reply(record: DocumentRecord, *, job: JobRecord | None = None) -> DocumentReply:
    """One document; with its job it also says why it waits and what happens next."""
    return DocumentReply(
        id=record.id,
        name=record.name,
        collection=record.collection,
        state=record.state,
        version=record.version,
        accepted_version=record.accepted_version,
        sha256=record.sha256,
        size_bytes=record.size_bytes,
        pages=record.pages,
        chunks=record.chunks,
        error=_error_reply(record.error),
        created_at=_moment(record.created_at),
        updated_at=_moment(record.updated_at),
        metadata=dict(record.metadata),
        job=job_reply(job) if job else None,
        workers=list(job.workers or ()) if job else [],
        links={"self": f"/v1/documents/{record.id}", "job": f"/v1/jobs/{record.job_id}"},
    )


def job_reply(record: JobRecord) -> JobReply:
    """One job; when its queue has no worker, it says so."""
    links = {"self": f"/v1/jobs/{record.id}", "events": f"/v1/jobs/{record.id}/events"}
    if record.document_id:
        links["document"] = f"/v1/documents/{record.document_id}"
    return JobReply(
        id=record.id,
        kind=record.kind,
        status=record.state,
        step=record.step,
        queue=record.queue,
        queue_position=record.position,
        progress=Progress(done=record.progress_done, total=record.progress_total, unit=record.progress_unit),
        attempts=record.attempts,
        interruptions=record.interruptions,
        worker=record.worker,
        document_id=record.document_id or None,
        collection=record.collection or None,
        error=_error_reply(record.error),
        result=record.result,
        generation=record.generation or None,
        next=_next(record),
        trace_id=record.trace_id,
        request_id=record.request_id,
        created_at=_moment(record.created_at),
        started_at=_moment(record.started_at) if record.started_at else None,
        finished_at=_moment(record.finished_at) if record.finished_at else None,
        links=links,
    )


def state_of_step(job: JobRecord, step: str) -> JobState:
    """How far one step of a job is.

    Raises
    ------
    NotFound
        The job has no such step.
    """
    steps: list[Step] = [FIRST_STEP[job.kind]]
    while steps[-1] in NEXT_STEP:
        steps.append(NEXT_STEP[steps[-1]])
    if step not in steps:
        raise NotFound("There is no such task")
    asked, current = steps.index(Step(step)), steps.index(job.step)
    if asked < current:
        return JobState.SUCCEEDED
    if asked > current:
        return job.state if job.state.final else JobState.QUEUED
    return JobState.QUEUED if not job.state.final and job.step_state == "queued" else job.state


def accepted(response: Response, submission: Submission) -> SubmissionReply:
    """Accepted work, and where and when to look for it."""
    reply = submission_reply(submission)
    response.headers["Location"] = reply.links["job"]
    response.headers["Retry-After"] = "1"
    return reply


def submission_reply(submission: Submission) -> SubmissionReply:
    """Accepted work."""
    links = {"job": f"/v1/jobs/{submission.job_id}", "events": f"/v1/jobs/{submission.job_id}/events"}
    if submission.document_id:
        links["document"] = f"/v1/documents/{submission.document_id}"
    return SubmissionReply(
        job_id=submission.job_id,
        document_id=submission.document_id,
        unchanged=submission.unchanged,
        generation=submission.generation,
        status=submission.status,
        links=links,
    )


def task_status(task_id: str, record: JobRecord, state: JobState) -> TaskStatus:
    """A job, or one step of it, in the original's words."""
    done = state is JobState.SUCCEEDED
    return TaskStatus(
        task_id=task_id,
        status=_ORIGINAL_WORDS[state],
        result=record.result if done else None,
        error=_error_reply(record.error) if state in {JobState.FAILED, JobState.CANCELLED} else None,
    )


def tasks_info(statuses: Sequence[QueueStatus]) -> TasksInfo:
    """All queues and all tasks."""
    tasks = {route.task: route.queue for route in ROUTES.values()} | CANVAS_TASKS
    queues = [
        QueueReply(
            name=status.queue,
            purpose=status.queue.purpose,
            tasks=sorted(task for task, queue in tasks.items() if queue == status.queue),
            waiting=status.waiting,
            in_flight=status.in_flight,
            workers=list(status.workers),
        )
        for status in statuses
    ]
    return TasksInfo(queues=queues, registered_tasks=sorted(tasks))


def _error_reply(error: JobError | None) -> ErrorReply | None:
    if error is None:
        return None
    kind = error_class(error.code)
    return ErrorReply(code=error.code, title=kind.title, detail=error.detail, retryable=kind.retryable)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


def _next(job: JobRecord) -> str:
    if job.state.final:
        return "Nothing: the job has ended"
    if job.cancel_requested:
        return "It ends at its next step forward: it was cancelled"
    match job.step_state:
        case "leased":
            return f"{job.worker} is working on step {job.step}"
        case "delayed":
            return f"Step {job.step} is tried again at {_moment(job.retry_at).isoformat(timespec='seconds')}"
        case _ if job.workers == ():
            return f"Queue {job.queue} has no worker: one has to wake up or be started"
        case _:
            return f"The next free worker of queue {job.queue} takes step {job.step}"
