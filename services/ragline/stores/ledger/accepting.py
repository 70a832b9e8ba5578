"""The ledger as the API uses it: accept, report, cancel, sweep. Asynchronous; one instance a process."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import redis.asyncio

from ragline.common.constants import SWEEP_INTERVAL, VANISHED_GRACE
from ragline.common.errors import Conflict, EmbeddingSpaceMismatch, NotFound
from ragline.common.identifiers import is_collection_name, is_id, new_id
from ragline.common.messages import StepMessage, step_envelope
from ragline.common.metadata import Scalar
from ragline.common.models import CollectionRecord, DocumentRecord, Event, JobRecord, JobState, QueueStatus, Submission
from ragline.common.queues import FIRST_STEP, ROUTES, JobKind, Queue, Step
from ragline.common.telemetry import TraceContext, new_trace
from ragline.stores.ledger.keys import (
    collection_key,
    collections_key,
    document_key,
    documents_key,
    events_key,
    job_key,
    littered_key,
    queued_key,
    unacked_key,
    workers_key,
)
from ragline.stores.ledger.records import collection_record, document_record, job_record
from ragline.stores.ledger.scripts import redis_errors, script_source

__all__ = ["AcceptLedger", "NewDocument", "NewJob"]

_CALLS = ("accept_document", "accept_job", "cancel", "sweep")
_NO_COLLECTION = "There is no such collection"
_NO_DOCUMENT = "There is no such document"
_NO_JOB = "There is no such job"

_CLEANING_LIMIT = 20
"""Documents one sweep has cleaned: what a cleaning job forgets to do, the next upload of the document does."""

_SWEEP_LIMIT = 500
"""Jobs a sweep moves per kind: it holds up the server for about 10 ms at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDocument:
    """An upload whose bytes are in the object store already.

    Attributes
    ----------
    space, physical
        Embedding space and Chroma collection, used when this upload makes the collection.
    object_key
        Where the bytes are.
    fingerprint
        Of the pipeline's settings; the same bytes with the same fingerprint need no work.
    metadata
        What the caller notes about the document, checked.
    """

    tenant: str
    collection: str
    space: str
    physical: str
    name: str
    object_key: str
    sha256: str
    size_bytes: int
    fingerprint: str
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job that is not an upload.

    Attributes
    ----------
    collection
        Must exist when given.
    space
        The collection must live in this embedding space when given.
    """

    tenant: str
    kind: JobKind
    params: Mapping[str, Any]
    collection: str = ""
    document_id: str = ""
    space: str = ""


class AcceptLedger:
    """Accepts work and answers questions about it. All methods raise `TransientError` when Redis is away."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        # redis-py types every answer as one that may have to be awaited.
        self._redis: Any = client
        self._scripts = {name: self._redis.register_script(script_source(name)) for name in _CALLS}

    async def accept_document(self, new: NewDocument, trace: TraceContext) -> Submission:
        """Record an upload and queue its first step in one atomic call.

        Raises
        ------
        EmbeddingSpaceMismatch
            The collection was embedded with another model.
        """
        job_id = new_id("job")
        fields = {
            "tenant": new.tenant,
            "collection": new.collection,
            "space": new.space,
            "physical": new.physical,
            "name": new.name,
            "sha256": new.sha256,
            "size_bytes": new.size_bytes,
            "fingerprint": new.fingerprint,
            "metadata": orjson.dumps(dict(new.metadata)).decode(),
            "document_id": new_id("doc"),
            "object_key": new.object_key,
            "params": orjson.dumps({"object_key": new.object_key, "name": new.name, "physical": new.physical}).decode(),
        }
        answer = await self._accept("accept_document", job_id, FIRST_STEP[JobKind.INGEST], fields, trace)
        return Submission(
            job_id=answer[1],
            document_id=answer[2],
            unchanged=answer[0] != "accepted",
            # "same" is a job that is still at work on these bytes, "unchanged" a new one that had nothing to do.
            status=JobState.SUCCEEDED if answer[0] == "unchanged" else JobState.QUEUED,
        )

    async def accept_job(self, new: NewJob, trace: TraceContext) -> Submission:
        """Record a job and queue its step in one atomic call.

        Raises
        ------
        NotFound
            The collection or document does not exist for this tenant.
        EmbeddingSpaceMismatch
            The collection was embedded with another model.
        """
        if new.collection:
            _check_collection(new.collection)
        if new.document_id:
            _check_document(new.document_id)
        step = FIRST_STEP[new.kind]
        fields = {
            "tenant": new.tenant,
            "kind": new.kind,
            "step": step,
            "collection": new.collection,
            "space": new.space,
            "document_id": new.document_id,
            "params": orjson.dumps(new.params).decode(),
        }
        answer = await self._accept("accept_job", new_id("job"), step, fields, trace)
        return Submission(job_id=answer[1], document_id=answer[2] or None)

    async def cancel(self, tenant: str, job_id: str) -> None:
        """Ask a job to end; a finished one is left as it is.

        Raises
        ------
        NotFound
            The tenant has no such job.
        Conflict
            The job is a deletion, which cannot be undone half-way.
        """
        _check_job(job_id)
        match await self._call("cancel", job_id, tenant):
            case "unknown":
                raise NotFound(_NO_JOB)
            case "refused":
                raise Conflict("A deletion cannot be cancelled")
            case _:
                pass

    async def collection(self, tenant: str, name: str) -> CollectionRecord:
        """One collection, or `NotFound`."""
        _check_collection(name)
        with redis_errors("read collection"):
            row = await self._redis.hgetall(collection_key(tenant, name))
            documents = await self._redis.zcard(documents_key(tenant, name))
        if not row:
            raise NotFound(_NO_COLLECTION)
        return collection_record(row, documents)

    async def collections(self, tenant: str) -> list[CollectionRecord]:
        """All collections of a tenant by name."""
        with redis_errors("list collections"):
            names = sorted(await self._redis.smembers(collections_key(tenant)))
        return [await self.collection(tenant, name) for name in names]

    async def document(self, tenant: str, document_id: str) -> DocumentRecord:
        """One document, or `NotFound`."""
        _check_document(document_id)
        with redis_errors("read document"):
            row = await self._redis.hgetall(document_key(document_id))
        if not row or row["tenant"] != tenant:
            raise NotFound(_NO_DOCUMENT)
        return document_record(row)

    async def documents(self, tenant: str, name: str, *, after: int, limit: int) -> list[DocumentRecord]:
        """A page of a collection's documents, oldest first, beginning at rank `after`."""
        _check_collection(name)
        with redis_errors("list documents"):
            ids = await self._redis.zrange(documents_key(tenant, name), after, after + limit - 1)
            pipe = self._redis.pipeline(transaction=False)
            for document_id in ids:
                pipe.hgetall(document_key(document_id))
            rows = await pipe.execute()
        return [document_record(row) for row in rows if row]

    async def events(self, job_id: str, *, after: str = "0", block_seconds: float = 1.0) -> list[Event]:
        """Events after the given id; waits up to `block_seconds` for the first one, 0 for not at all."""
        # Redis takes 0 for "wait for ever".
        block = max(1, int(block_seconds * 1000)) if block_seconds > 0 else None
        with redis_errors("read events"):
            answer = await self._redis.xread({events_key(job_id): after}, count=500, block=block)
        entries = answer[0][1] if answer else []
        return [Event(id=key, type=row["type"], data=orjson.loads(row["data"])) for key, row in entries]

    async def follow(self, job_id: str, *, after: str = "0", block_seconds: float = 1.0) -> AsyncIterator[Event | None]:
        """Events until the job is done; None for every wait without one, so that the caller can look around.

        A reader that has all events of a finished job already, or follows a forgotten one, gets none.
        """
        last, ended = after, False
        while True:
            batch = await self.events(job_id, after=last, block_seconds=0 if ended else block_seconds)
            if not batch:
                if ended:
                    return
                yield None
                ended = await self._has_ended(job_id)
            for event in batch:
                yield event
                last = event.id
                if event.type == "done":
                    return

    async def job(self, tenant: str, job_id: str) -> JobRecord:
        """One job, or `NotFound`."""
        _check_job(job_id)
        with redis_errors("read job"):
            row = await self._redis.hgetall(job_key(job_id))
            if not row or row["tenant"] != tenant:
                raise NotFound(_NO_JOB)
            waits = row["step_state"] == "queued"
            position = await self._redis.zrank(queued_key(Queue(row["queue"])), job_id) if waits else None
        return job_record(row, position)

    async def ping(self) -> None:
        """Return when Redis answers."""
        with redis_errors("ping"):
            await self._redis.ping()

    async def queues(self) -> list[QueueStatus]:
        """All queues; one round trip after the server's clock."""
        with redis_errors("read queues"):
            seconds, _ = await self._redis.time()
            pipe = self._redis.pipeline(transaction=False)
            for queue in Queue:
                pipe.llen(queue)
                pipe.hlen(unacked_key(queue))
                pipe.zrangebyscore(workers_key(queue), seconds * 1000, "+inf")
            rows = await pipe.execute()
        return [
            QueueStatus(queue=queue, waiting=rows[3 * i], in_flight=rows[3 * i + 1], workers=tuple(rows[3 * i + 2]))
            for i, queue in enumerate(Queue)
        ]

    async def queue_cleaning(self) -> int:
        """Queue a cleaning job for documents that failed, cancelled or replaced uploads left something behind of.

        Returns
        -------
        int
            Number of documents.
        """
        with redis_errors("read littered documents"):
            littered = await self._redis.spop(littered_key(), _CLEANING_LIMIT)
            rows = [await self._redis.hgetall(document_key(document_id)) for document_id in littered or ()]
        for row in rows:
            if row:
                document = document_record(row)
                new = NewJob(tenant=document.tenant, kind=JobKind.CLEAN, params={}, document_id=document.id)
                await self.accept_job(new, new_trace())
        return len(rows)

    async def sweep(self) -> Sequence[int]:
        """Queue again what nobody will come back to.

        Returns
        -------
        Sequence[int]
            Number of expired leases, due retries and vanished messages; zeros when another process has just swept.
        """
        period, grace = (int(value.total_seconds() * 1000) for value in (SWEEP_INTERVAL, VANISHED_GRACE))
        counts: Sequence[int] = await self._call("sweep", max(1, period - 100), grace, _SWEEP_LIMIT, *Queue)
        return counts

    async def _accept(
        self, script: str, job_id: str, step: Step, fields: Mapping[str, Any], trace: TraceContext
    ) -> Sequence[str]:
        envelope = step_envelope(StepMessage(job_id=job_id, step=step), headers=trace.headers)
        common = {
            "job_id": job_id,
            "queue": ROUTES[step].queue,
            "traceparent": trace.traceparent,
            "request_id": trace.request_id,
        }
        answer: Sequence[str] = await self._call(script, orjson.dumps({**fields, **common}), envelope)
        match answer[0]:
            case "space_mismatch":
                raise EmbeddingSpaceMismatch(
                    f"The collection lives in the embedding space {answer[1]}, this service embeds in {fields['space']}"
                )
            case "no_collection":
                raise NotFound(_NO_COLLECTION)
            case "no_document":
                raise NotFound(_NO_DOCUMENT)
            case _:
                return answer

    async def _has_ended(self, job_id: str) -> bool:
        with redis_errors("read job"):
            state = await self._redis.hget(job_key(job_id), "state")
        return state is None or JobState(state).final

    async def _call(self, name: str, *args: str | bytes | int) -> Any:  # noqa: ANN401 - the shape depends on the script
        with redis_errors(name):
            return await self._scripts[name](keys=[], args=list(args))


def _check_collection(name: str) -> None:
    if not is_collection_name(name):
        raise NotFound(_NO_COLLECTION)


def _check_document(document_id: str) -> None:
    if not is_id("doc", document_id):
        raise NotFound(_NO_DOCUMENT)


def _check_job(job_id: str) -> None:
    if not is_id("job", job_id):
        raise NotFound(_NO_JOB)
