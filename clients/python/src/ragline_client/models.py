"""What the service tells, as values. A newer service may say more: what is unknown here is left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = [
    "Answer",
    "Citation",
    "CitationEvent",
    "Collection",
    "Document",
    "DoneEvent",
    "Event",
    "Failure",
    "Job",
    "Progress",
    "ProgressEvent",
    "Submission",
    "TokenEvent",
    "Usage",
    "UsageEvent",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job failed, or why its last attempt did."""

    code: str
    title: str = ""
    detail: str = ""
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a step is; `total` is 0 while it is not known."""

    done: int = 0
    total: int = 0
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it was when it was asked for.

    Attributes
    ----------
    status
        queued, running, succeeded, failed or cancelled.
    queue_position
        Jobs waiting in front of it; None when it does not wait.
    next
        What happens next, in one sentence.
    """

    id: str
    status: str
    kind: str = ""
    step: str = ""
    queue: str = ""
    queue_position: int | None = None
    progress: Progress = Progress()
    attempts: int = 0
    interruptions: int = 0
    worker: str = ""
    document_id: str | None = None
    collection: str | None = None
    error: Failure | None = None
    result: Any = None
    next: str = ""
    trace_id: str = ""
    request_id: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether it will never change again."""
        return self.status in {"succeeded", "failed", "cancelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Accepted work.

    Attributes
    ----------
    unchanged
        The same bytes are there already, or being worked on.
    generation
        The collection's generation that will contain the document; for `min_generation` of a question.
    """

    job_id: str
    document_id: str | None = None
    unchanged: bool = False
    status: str = "queued"
    generation: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document: where it is, and its newest job when it was asked for alone."""

    id: str
    name: str
    collection: str
    state: str
    version: int = 0
    accepted_version: int = 0
    sha256: str = ""
    size_bytes: int = 0
    pages: int = 0
    chunks: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    error: Failure | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    job: Job | None = None
    workers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A collection; its generation goes up with every visible change."""

    name: str
    documents: int = 0
    chunks: int = 0
    generation: int = 0
    embedding_space: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """Where a part of an answer stands: page from 1, characters of the page's text from `start` up to `end`."""

    document_id: str
    document: str
    page: int
    start: int = 0
    end: int = 0
    chunk_id: str = ""
    quote: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of the chat model; 0 when it did not say."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer and what it rests on.

    Attributes
    ----------
    answered
        False when the collection holds no evidence; then there are no citations.
    generation
        The collection's generation it rests on; None for a streamed answer.
    pending_documents
        When there is no answer: documents still being indexed, which may hold it.
    cached
        Whether it was given before.
    """

    job_id: str
    text: str = field(metadata={"member": "answer"})
    answered: bool
    citations: tuple[Citation, ...] = ()
    usage: Usage = Usage()
    generation: int | None = None
    pending_documents: int = 0
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressEvent:
    """A step began (`attempt` says for the how many-th time) or came further.

    One that began waited `waited_ms` milliseconds for its worker, which had to be started first when `cold`.
    """

    step: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    attempt: int = 0
    waited_ms: int = 0
    cold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEvent:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CitationEvent:
    """A citation of the answer."""

    citation: Citation


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent:
    """Tokens the answer took."""

    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneEvent:
    """The job has succeeded; nothing follows. One that has not succeeded ends in `JobFailed` instead."""

    state: str


Event = ProgressEvent | TokenEvent | CitationEvent | UsageEvent | DoneEvent
