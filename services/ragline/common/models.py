"""Plain data that flows between the parts; nothing here talks to anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ragline.common.queues import JobKind, Queue, Step
from ragline.common.traceparent import trace_id_of

__all__ = [
    "Answer",
    "Chunk",
    "Citation",
    "CollectionRecord",
    "DocumentRecord",
    "DocumentState",
    "Event",
    "JobError",
    "JobRecord",
    "JobState",
    "Page",
    "Passage",
    "QueueStatus",
    "Submission",
]


class DocumentState(StrEnum):
    """Where a document is in its life."""

    ACCEPTED = "accepted"
    CONVERTING = "converting"
    SPLITTING = "splitting"
    INDEXING = "indexing"
    INDEXED = "indexed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETING = "deleting"
    DELETED = "deleted"

    @property
    def settled(self) -> bool:
        """Whether it is there and nobody is at work on it."""
        return self in {DocumentState.INDEXED, DocumentState.FAILED, DocumentState.CANCELLED}


class JobState(StrEnum):
    """Where a job is in its life; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the job will never change again."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Text of one page.

    Attributes
    ----------
    number
        1 for the first page.
    """

    number: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A passage of a document, as the manifest lists it.

    Attributes
    ----------
    start, end
        Offsets in characters into the text of its page, end exclusive.
    """

    id: str
    page: int
    start: int
    end: int
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A chunk found for a question.

    Attributes
    ----------
    score
        Similarity in [0, 1]; 1 is the same direction.
    """

    chunk_id: str
    document_id: str
    document: str
    page: int
    start: int
    end: int
    text: str
    score: float

    def cited(self, start: int, end: int) -> "Citation":
        """A citation of a part of it; offsets into its text, end exclusive."""
        return Citation(
            document_id=self.document_id,
            document=self.document,
            page=self.page,
            start=self.start + start,
            end=self.start + end,
            chunk_id=self.chunk_id,
            quote=self.text[start:end],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """Where a part of an answer stands: character offsets into the text of the page, end exclusive."""

    document_id: str
    document: str
    page: int
    start: int
    end: int
    chunk_id: str
    quote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to a question.

    Attributes
    ----------
    answered
        False when the collection holds no evidence; `text` then says so.
    truncated
        Whether the text was cut off at the token limit.
    """

    text: str
    answered: bool
    citations: tuple[Citation, ...] = ()
    usage: Mapping[str, int] = field(default_factory=dict)
    truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job failed, or why its last attempt did."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What the ledger answers to accepted work.

    Attributes
    ----------
    unchanged
        The same bytes are there already, or being worked on.
    generation
        The generation of the collection that will contain an upload.
    repeated
        The request was accepted before, by its Idempotency-Key.
    """

    job_id: str
    document_id: str | None = None
    unchanged: bool = False
    status: JobState = JobState.QUEUED
    generation: int | None = None
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One job as the ledger holds it. Times are Unix milliseconds of the Redis server's clock, 0 for never.

    Attributes
    ----------
    step_state
        ``queued`` (a message waits), ``leased`` (a worker has it), ``delayed`` (waits for a retry) or ``done``.
    attempts
        Starts of the current step without progress.
    interruptions, crashes
        Hand-backs because a worker stopped, and leases that ran out, both of the current step.
    generation
        The one its collection was promised to have when this upload is visible; 0 for other jobs.
    cached
        Its answer was that of an earlier job.
    position
        How many jobs wait in front of it on its queue; None when it does not wait.
    workers
        Living workers of its queue; None where nobody looked.
    """

    id: str
    tenant: str
    kind: JobKind
    state: JobState
    step: Step
    step_state: str
    queue: Queue
    collection: str
    document_id: str
    version: int
    params: Mapping[str, Any]
    result: Any
    attempts: int
    interruptions: int
    crashes: int
    progress_done: int
    progress_total: int
    progress_unit: str
    error: JobError | None
    cancel_requested: bool
    worker: str
    created_at: int
    started_at: int
    finished_at: int
    retry_at: int
    traceparent: str
    request_id: str
    generation: int = 0
    cached: bool = False
    position: int | None = None
    workers: tuple[str, ...] | None = None

    @property
    def trace_id(self) -> str:
        """The trace's 32 hex digits, or an empty string."""
        return trace_id_of(self.traceparent)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRecord:
    """One document as the ledger holds it.

    Attributes
    ----------
    version
        The version that answers questions; 0 while none does.
    accepted_version
        The newest accepted version; above `version` while it is being worked on, or when it failed.
    sha256, size_bytes
        Of the newest accepted version.
    physical
        The Chroma collection that holds its chunks, even when its collection is gone.
    metadata
        Of the uploader, see `common.metadata`.
    """

    id: str
    tenant: str
    collection: str
    physical: str
    name: str
    state: DocumentState
    version: int
    accepted_version: int
    job_id: str
    sha256: str
    size_bytes: int
    pages: int
    chunks: int
    error: JobError | None
    created_at: int
    updated_at: int
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionRecord:
    """A set of documents that one question is asked of.

    Attributes
    ----------
    generation
        Goes up with every change a reader could see.
    space
        The embedding space of its vectors.
    physical
        The Chroma collection that holds its chunks.
    dropping
        It is being deleted: nobody may ask it any more.
    """

    tenant: str
    name: str
    generation: int
    space: str
    physical: str
    documents: int
    chunks: int
    created_at: int
    dropping: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """One queue as an operator sees it.

    Attributes
    ----------
    waiting
        Jobs nobody has taken yet: with a message on the queue, or held until their tenant's share has room.
    in_flight
        Messages being worked on.
    workers
        Names of the living ones.
    """

    queue: Queue
    waiting: int
    in_flight: int
    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of a job's event stream.

    Attributes
    ----------
    id
        Redis stream id; a client resumes after it with ``Last-Event-ID``.
    type
        ``progress``, ``token``, ``citation``, ``usage``, ``error`` or ``done``.
    """

    id: str
    type: str
    data: Mapping[str, Any]
