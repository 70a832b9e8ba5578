"""The ledger as the API changes it: accept, cancel, sweep, queue cleaning. Asynchronous; one instance a process."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

import orjson
import redis.asyncio

from ragline.common.constants import SWEEP_INTERVAL, VANISHED_GRACE
from ragline.common.errors import (
    BacklogFull,
    BudgetExhausted,
    Conflict,
    EmbeddingSpaceMismatch,
    IdempotencyKeyReused,
    NotFound,
    Overloaded,
    RagError,
)
from ragline.common.identifiers import new_id
from ragline.common.measurements import MEASUREMENTS
from ragline.common.messages import StepMessage, step_envelope
from ragline.common.metadata import Scalar
from ragline.common.metrics import ADMISSION_REFUSALS
from ragline.common.models import JobState, Submission
from ragline.common.queues import FIRST_STEP, ROUTES, JobKind, Queue, Step
from ragline.common.span_names import ACCEPT, DOCUMENT_ID, JOB_ID, OUTCOME
from ragline.common.spans import child_span
from ragline.common.trace_context import TraceContext, new_trace
from ragline.stores.grouped_scripts import GroupedScripts
from ragline.stores.ledger.keys import document_key, littered_key
from ragline.stores.ledger.reading import (
    NO_COLLECTION,
    NO_DOCUMENT,
    NO_JOB,
    ReadLedger,
    check_collection,
    check_document,
    check_job,
)
from ragline.stores.ledger.records import document_record
from ragline.stores.ledger.scripts import script_source
from ragline.stores.ledger.sweeping import Swept, swept
from ragline.stores.redis_errors import redis_errors

__all__ = ["AcceptLedger", "Bounds", "Idempotency", "NewDocument", "NewJob"]

_CALLS = ("accept_document", "accept_job", "cancel", "sweep")

_CLEANING_LIMIT = 20
"""Most documents one sweep queues cleaning for. What a cleaning job forgets to do, the next upload of the
document does."""

_SWEEP_LIMIT = 500
"""Jobs a sweep moves per kind: it holds up the server for about 10 ms at most."""

_ALWAYS_ACCEPTED = {JobKind.CLEAN, JobKind.DELETE, JobKind.DROP}
"""Work that makes room, which no backlog keeps out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much work may wait, and how much may be spent.

    Attributes
    ----------
    max_backlog, max_backlog_per_tenant
        Most jobs that wait on one queue, of all tenants and of one.
    tokens_per_day
        Tokens of the chat model a tenant may use in a day (UTC); 0 for no bound.
    """

    max_backlog: int = 100_000
    max_backlog_per_tenant: int = 10_000
    tokens_per_day: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """How a repeated request is known again for 24 hours.

    Attributes
    ----------
    key
        What the caller sent; unique within its tenant.
    request
        Everything else that makes the request: another request with the same key is refused.
    """

    key: str
    request: str

    def fields(self) -> dict[str, str]:
        """Digests, so that neither length nor content of what was sent matters to the ledger."""
        return {"idempotency": _digest(self.key), "request": _digest(self.request)}


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
        What questions may filter by once this version is visible.
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
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job that is not an upload.

    Attributes
    ----------
    collection
        Must exist when given.
    space
        The collection must live in this embedding space when given.
    answer_key
        Names what is asked; an answer kept under it, of the collection as it is now, is the job's result at once.
    keep_answer
        How long this job's answer is kept under that name.
    """

    tenant: str
    kind: JobKind
    params: Mapping[str, Any]
    collection: str = ""
    document_id: str = ""
    space: str = ""
    answer_key: str = ""
    keep_answer: timedelta = timedelta()
    idempotency: Idempotency | None = None


class AcceptLedger(ReadLedger):
    """Accepts and cancels work, queues again what was lost, queues cleaning, and reads.

    All methods raise `TransientError` when Redis is away.

    Parameters
    ----------
    bounds
        What is refused.
    scripts
        Shared with others who call scripts for the same requests.
    """

    def __init__(
        self, client: "redis.asyncio.Redis", bounds: Bounds | None = None, *, scripts: GroupedScripts | None = None
    ) -> None:
        super().__init__(client)
        self._bounds = bounds or Bounds()
        self._scripts = scripts or GroupedScripts(client)
        self._names = {name: self._scripts.add(script_source(name)) for name in _CALLS}

    async def accept_document(self, new: NewDocument, trace: TraceContext) -> Submission:
        """Record an upload and queue its first step in one atomic call.

        Raises
        ------
        EmbeddingSpaceMismatch
            The collection was embedded with another model.
        Conflict
            The collection is being deleted.
        IdempotencyKeyReused, BacklogFull, Overloaded
            Nothing was recorded.
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
            "document_id": new_id("doc"),
            "object_key": new.object_key,
            "metadata": orjson.dumps(new.metadata, option=orjson.OPT_SORT_KEYS).decode() if new.metadata else "",
            "params": orjson.dumps({"object_key": new.object_key, "name": new.name, "physical": new.physical}).decode(),
            # What is accepted here goes on to the other one: a backlog there counts as well.
            "queues": [Queue.DOCUMENT, Queue.VECTORSTORE],
            **_idempotency_fields(new.idempotency),
        }
        answer = await self._accept("accept_document", job_id, FIRST_STEP[JobKind.INGEST], fields, trace)
        return Submission(
            job_id=answer[1],
            document_id=answer[2],
            # "same" is a job that is still at work on these bytes, "unchanged" a new one that had nothing to do.
            unchanged=answer[0] != "accepted",
            status=JobState.SUCCEEDED if answer[0] == "unchanged" else JobState.QUEUED,
            generation=int(answer[3]),
            repeated=len(answer) > 4,  # noqa: PLR2004 - word, job, document, generation
        )

    async def accept_job(self, new: NewJob, trace: TraceContext) -> Submission:
        """Record a job and queue its step in one atomic call.

        Raises
        ------
        NotFound
            The collection or document does not exist for this tenant.
        EmbeddingSpaceMismatch
            The collection was embedded with another model.
        IdempotencyKeyReused, BacklogFull, BudgetExhausted, Overloaded
            Nothing was recorded.
        """
        if new.collection:
            check_collection(new.collection)
        if new.document_id:
            check_document(new.document_id)
        step = FIRST_STEP[new.kind]
        fields = {
            "tenant": new.tenant,
            "kind": new.kind,
            "step": step,
            "collection": new.collection,
            "space": new.space,
            "document_id": new.document_id,
            "answer_key": new.answer_key,
            "keep_answer_ms": int(new.keep_answer.total_seconds() * 1000),
            "params": orjson.dumps(new.params).decode(),
            "queues": [] if new.kind in _ALWAYS_ACCEPTED else [ROUTES[step].queue],
            **_idempotency_fields(new.idempotency),
        }
        answer = await self._accept("accept_job", new_id("job"), step, fields, trace)
        return Submission(
            job_id=answer[1],
            document_id=answer[2] or None,
            status=JobState.SUCCEEDED if answer[0] == "cached" else JobState.QUEUED,
        )

    async def cancel(self, tenant: str, job_id: str) -> None:
        """Ask a job to end; a finished one is left as it is.

        Raises
        ------
        NotFound
            The tenant has no such job.
        Conflict
            The job is a deletion, which cannot be undone half-way.
        """
        check_job(job_id)
        match await self._call("cancel", job_id, tenant):
            case "unknown":
                raise NotFound(NO_JOB)
            case "refused":
                raise Conflict("A deletion cannot be cancelled")
            case _:
                pass

    async def queue_cleaning(self, document_ids: Sequence[str]) -> None:
        """Queue a cleaning job for each document of which a failed, cancelled or replaced upload left something behind.

        Parameters
        ----------
        document_ids
            As a sweep found them; the next one finds those again that have no job yet.
        """
        for document_id in document_ids:
            with redis_errors("read littered document"):
                row = await self._redis.hgetall(document_key(document_id))
                if not row:
                    await self._redis.srem(littered_key(), document_id)
            if row:
                tenant = document_record(row).tenant
                new = NewJob(tenant=tenant, kind=JobKind.CLEAN, params={}, document_id=document_id)
                await self.accept_job(new, new_trace())

    async def sweep(self) -> Swept:
        """Queue again what nobody will come back to. Finds nothing when another process has just swept."""
        period, grace = (int(value.total_seconds() * 1000) for value in (SWEEP_INTERVAL, VANISHED_GRACE))
        return swept(await self._call("sweep", max(1, period - 100), grace, _SWEEP_LIMIT, _CLEANING_LIMIT, *Queue))

    async def _accept(
        self, script: str, job_id: str, step: Step, fields: Mapping[str, Any], trace: TraceContext
    ) -> Sequence[str]:
        envelope = step_envelope(StepMessage(job_id=job_id, step=step), headers=trace.headers)
        common = {
            "job_id": job_id,
            "queue": ROUTES[step].queue,
            "traceparent": trace.traceparent,
            "request_id": trace.request_id,
            "max_backlog": self._bounds.max_backlog,
            "max_backlog_per_tenant": self._bounds.max_backlog_per_tenant,
            "tokens_per_day": self._bounds.tokens_per_day,
        }
        with child_span(ACCEPT) as span:
            answer: Sequence[str] = await self._call(script, orjson.dumps({**fields, **common}), envelope)
            if span is not None:
                span.attributes.update(_told(answer))
        if answer[0] in _REFUSALS:
            _refuse(answer, fields)
        return answer

    async def _call(self, name: str, *args: str | bytes | int) -> Any:  # noqa: ANN401 - the shape depends on the script
        with redis_errors(name):
            return await self._scripts.call(self._names[name], args)


def _told(answer: Sequence[str]) -> Mapping[str, str]:
    """What a span says of the answer. A refusal is no failure: under a flood each would be kept."""
    if answer[0] in _REFUSALS:
        return {OUTCOME: answer[0]}
    told = {OUTCOME: answer[0], JOB_ID: answer[1]}
    return {**told, DOCUMENT_ID: answer[2]} if answer[2] else told


def _refuse(answer: Sequence[str], fields: Mapping[str, Any]) -> NoReturn:
    if answer[0] == "space_mismatch":
        detail = f"The collection lives in the embedding space {answer[1]}, this service embeds in {fields['space']}"
        raise EmbeddingSpaceMismatch(detail)
    kind, detail = _REFUSALS[answer[0]]
    error = kind(detail)
    if (error.code,) in ADMISSION_REFUSALS.known:
        MEASUREMENTS.count(ADMISSION_REFUSALS, error.code)
    if len(answer) > 1:
        error.retry_after = timedelta(seconds=int(answer[1]))
    raise error


_REFUSALS: dict[str, tuple[type[RagError], str]] = {
    "backlog_full": (BacklogFull, "As much of the tenant's work waits as may; send more when some of it is done"),
    "budget_exhausted": (BudgetExhausted, "The tenant may use more tokens after midnight UTC"),
    "dropping": (Conflict, "The collection is being deleted"),
    "key_reused": (IdempotencyKeyReused, "Another request was sent with this Idempotency-Key within 24 hours"),
    "no_collection": (NotFound, NO_COLLECTION),
    "no_document": (NotFound, NO_DOCUMENT),
    "overloaded": (Overloaded, "As much work waits as may; workers are busy"),
    "space_mismatch": (EmbeddingSpaceMismatch, ""),
}
"""What the scripts answer instead of accepting; a second word says after how many seconds another try makes sense."""


def _idempotency_fields(idempotency: Idempotency | None) -> dict[str, str]:
    return idempotency.fields() if idempotency else {"idempotency": "", "request": ""}


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
