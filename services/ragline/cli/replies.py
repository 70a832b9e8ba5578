"""What the commands read from the API's replies. Keys they do not know are left alone: the API may be newer."""

from datetime import datetime
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError

from ragline.cli.failures import ApiFailure

__all__ = [
    "Answer",
    "Citation",
    "Consistency",
    "Failure",
    "Job",
    "JobCourse",
    "Progress",
    "Submission",
    "event_data",
    "understood",
]

ReplyT = TypeVar("ReplyT", bound=BaseModel)


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Citation(_Reply):
    """Where a part of an answer stands."""

    document: str
    page: int
    quote: str


class Answer(_Reply):
    """An answer and what it rests on; without evidence it has no citations."""

    text: str
    citations: tuple[Citation, ...]


class Failure(_Reply):
    """Why a job failed."""

    code: str
    title: str = ""
    detail: str = ""


class Progress(_Reply):
    """How far a step is; `total` is 0 while it is not known."""

    step: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    attempt: int = 0
    waited_ms: int = 0
    cold: bool = False


class Job(_Reply):
    """One job."""

    id: str
    status: str
    error: Failure | None = None
    result: object = None

    @property
    def ended(self) -> bool:
        """Whether it will never change again."""
        return self.status in {"succeeded", "failed", "cancelled"}


class JobCourse(Job):
    """One job with all that says where it is and how it came there."""

    kind: str
    step: str = ""
    queue: str = ""
    queue_position: int | None = None
    progress: Progress = Progress()
    attempts: int = 0
    interruptions: int = 0
    worker: str = ""
    document_id: str | None = None
    collection: str | None = None
    next: str = ""
    trace_id: str = ""
    created_at: datetime
    finished_at: datetime | None = None

    @property
    def waits(self) -> bool:
        """Whether it stands on a queue."""
        return self.queue_position is not None


class Submission(_Reply):
    """Accepted work."""

    job_id: str
    document_id: str | None = None
    unchanged: bool = False


class Consistency(_Reply):
    """Outcome of a verification. Lists of ids may be cut short; the counts are complete."""

    documents: int
    chunks: int
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    stale: tuple[str, ...]
    missing_count: int | None = None
    extra_count: int | None = None
    stale_count: int | None = None
    consistent: bool

    def differences(self) -> list[tuple[str, int, tuple[str, ...]]]:
        """Name, count and ids of each kind of difference."""
        kinds = (
            ("missing", self.missing_count, self.missing),
            ("extra", self.extra_count, self.extra),
            ("stale", self.stale_count, self.stale),
        )
        return [(name, len(ids) if count is None else count, ids) for name, count, ids in kinds]


def event_data(event: httpx2.ServerSentEvent) -> dict[str, Any]:
    """The JSON object that an event carries; an empty one when it carries something else."""
    try:
        data = event.json()
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def understood(kind: type[ReplyT], reply: object) -> ReplyT:
    """A reply as what it should be.

    Raises
    ------
    ApiFailure
        It is something else.
    """
    try:
        return kind.model_validate(reply)
    except ValidationError as error:
        raise ApiFailure(f"The API's reply is not understood: {error}") from error
