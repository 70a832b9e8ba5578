"""Redis hashes to records."""

from collections.abc import Mapping

import orjson

from ragline.common.models import CollectionRecord, DocumentRecord, DocumentState, JobError, JobRecord, JobState
from ragline.common.queues import JobKind, Queue, Step

__all__ = ["collection_record", "document_record", "job_record"]


def _error(row: Mapping[str, str]) -> JobError | None:
    code = row.get("error_code", "")
    return JobError(code=code, detail=row.get("error_detail", "")) if code else None


def job_record(
    row: Mapping[str, str], *, position: int | None = None, workers: tuple[str, ...] | None = None
) -> JobRecord:
    """A job from its hash.

    Parameters
    ----------
    position
        Its rank among the jobs that wait on its queue, if it waits.
    workers
        Living workers of its queue, if they were looked up.
    """
    return JobRecord(
        id=row["id"],
        tenant=row["tenant"],
        kind=JobKind(row["kind"]),
        state=JobState(row["state"]),
        step=Step(row["step"]),
        step_state=row["step_state"],
        queue=Queue(row["queue"]),
        collection=row["collection"],
        document_id=row["document_id"],
        version=int(row["version"]),
        params=orjson.loads(row["params"]),
        result=orjson.loads(row["result"]) if row["result"] else None,
        attempts=int(row["attempts"]),
        interruptions=int(row["interruptions"]),
        crashes=int(row["crashes"]),
        progress_done=int(row["progress_done"]),
        progress_total=int(row["progress_total"]),
        progress_unit=row["progress_unit"],
        error=_error(row),
        cancel_requested=row["cancel"] == "1",
        worker=row["worker"],
        created_at=int(row["created_at"]),
        started_at=int(row["started_at"]),
        finished_at=int(row["finished_at"]),
        retry_at=int(row.get("retry_at", "0")),
        traceparent=row["traceparent"],
        request_id=row["request_id"],
        generation=int(row.get("generation", "0")),
        cached=row.get("cached") == "1",
        position=position,
        workers=workers,
    )


def document_record(row: Mapping[str, str]) -> DocumentRecord:
    """A document from its hash."""
    return DocumentRecord(
        id=row["id"],
        tenant=row["tenant"],
        collection=row["collection"],
        physical=row["physical"],
        name=row["name"],
        state=DocumentState(row["state"]),
        version=int(row["version"]),
        accepted_version=int(row["accepted_version"]),
        job_id=row["job_id"],
        sha256=row["sha256"],
        size_bytes=int(row["size_bytes"]),
        pages=int(row["pages"]),
        chunks=int(row["chunks"]),
        error=_error(row),
        created_at=int(row["created_at"]),
        updated_at=int(row["updated_at"]),
        metadata=orjson.loads(row["metadata"]) if row.get("metadata") else {},
    )


def collection_record(row: Mapping[str, str], documents: int) -> CollectionRecord:
    """A collection from its hash and the number of its documents."""
    return CollectionRecord(
        tenant=row["tenant"],
        name=row["name"],
        generation=int(row["generation"]),
        space=row["space"],
        physical=row["physical"],
        documents=documents,
        chunks=int(row["chunks"]),
        created_at=int(row["created_at"]),
        dropping="drop_job" in row,
    )
