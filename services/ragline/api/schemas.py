"""Bodies of requests and replies."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ragline.api.problems import Problem
from ragline.common.constants import MAX_DATA_CHARS, MAX_QUESTION_CHARS, MAX_TOP_K

__all__ = [
    "AddRequest",
    "AnswerReply",
    "BatchReply",
    "BatchResult",
    "ChainRequest",
    "CitationReply",
    "CollectionList",
    "CollectionReply",
    "DivideRequest",
    "DocumentList",
    "DocumentReply",
    "ErrorReply",
    "JobReply",
    "OriginalQueryRequest",
    "ParallelRequest",
    "PipelineReply",
    "PipelineRequest",
    "ProcessRequest",
    "Progress",
    "QueryRequest",
    "QueueReply",
    "StrictModel",
    "SubmissionReply",
    "TaskStatus",
    "TaskSubmitted",
    "TasksInfo",
]

_MAX_NUMBER = 2**53 - 1
"""Largest number that every JSON reader takes for the same one (RFC 8259, section 6)."""

_Number = (
    Annotated[int, Field(strict=True, ge=-_MAX_NUMBER, le=_MAX_NUMBER)]
    | Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-_MAX_NUMBER, le=_MAX_NUMBER)]
)
_Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUESTION_CHARS)]
_TopK = Annotated[
    int,
    Field(strict=True, ge=1, le=MAX_TOP_K, description="Passages the answer may rest on; default: the service's"),
]


_Model = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class StrictModel(BaseModel):
    """A request body: unknown keys are refused, so that a typo is not silent."""

    model_config = ConfigDict(extra="forbid")


class AddRequest(StrictModel):
    x: _Number = Field(examples=[5])
    y: _Number = Field(examples=[10])


class DivideRequest(StrictModel):
    dividend: _Number = Field(examples=[20])
    divisor: _Number = Field(examples=[4])


class ChainRequest(StrictModel):
    x: _Number = Field(examples=[5])
    y: _Number = Field(examples=[10])
    divisor: _Number = Field(examples=[3])


class ParallelRequest(StrictModel):
    x: _Number = Field(examples=[10])
    y: _Number = Field(examples=[5])
    z: _Number = Field(description="Divisor of x", examples=[2])


class ProcessRequest(StrictModel):
    data: str = Field(max_length=MAX_DATA_CHARS, examples=["some text"])


class PipelineRequest(StrictModel):
    pdf_path: str = Field(
        min_length=1, max_length=4096, description="A file below the upload root", examples=["employee-handbook.pdf"]
    )
    persist_directory: str = Field(
        min_length=1,
        max_length=4096,
        description="Its last part names the collection",
        examples=["vectorstores/my_docs"],
    )


class OriginalQueryRequest(StrictModel):
    question: _Question = Field(examples=["What is the main topic of this document?"])
    persist_directory: str = Field(min_length=1, max_length=4096, examples=["vectorstores/my_docs"])
    top_k: _TopK | None = Field(None, examples=[3])


class QueryRequest(StrictModel):
    question: _Question = Field(examples=["How many weeks of parental leave are there?"])
    top_k: _TopK | None = Field(None, examples=[3])
    filter: dict[str, Any] | None = Field(
        None,
        description=(
            "Conditions on the metadata of documents, all of which must hold: a value, or an object of `eq`, `ne`, "
            "`gt`, `gte`, `lt`, `lte`, `in`, `nin`, `exists`"
        ),
        examples=[{"department": "hr", "year": {"gte": 2024}}],
    )
    model: _Model | None = Field(None, description="Chat model; default: the service's", examples=["gpt-4o-mini"])
    temperature: float | None = Field(
        None, ge=0, le=2, allow_inf_nan=False, description="Of the chat model", examples=[0.2]
    )
    max_tokens: int | None = Field(
        None, strict=True, ge=1, le=_MAX_NUMBER, description="Longest answer", examples=[300]
    )
    min_generation: int | None = Field(
        None,
        strict=True,
        ge=0,
        le=_MAX_NUMBER,
        description="The `generation` of an upload that the answer must know of: waits for it, at most 30 s, else 409",
        examples=[1],
    )


class TaskSubmitted(BaseModel):
    task_id: str = Field(examples=["job_5f1c"])
    status: str = Field("Task submitted", examples=["Task submitted"])


class TaskStatus(BaseModel):
    task_id: str
    status: str = Field(description="Task submitted, Processing, Completed or Failed", examples=["Completed"])
    result: Any = Field(None, description="What the task returned")
    error: "ErrorReply | None" = None


class PipelineReply(BaseModel):
    task_ids: dict[str, str] = Field(description="Id of each of the pipeline's tasks by task name")
    job_id: str = Field(description="The job they are steps of")
    document_id: str
    status: str = "Task submitted"


class QueueReply(BaseModel):
    name: str
    purpose: str
    tasks: list[str]
    waiting: int = Field(description="Messages nobody has taken yet")
    in_flight: int = Field(description="Messages being worked on")
    workers: list[str] = Field(description="Workers that are alive")


class TasksInfo(BaseModel):
    queues: list[QueueReply]
    registered_tasks: list[str]


class ErrorReply(BaseModel):
    code: str = Field(examples=["no_text"])
    title: str
    detail: str
    retryable: bool


class Progress(BaseModel):
    done: int
    total: int = Field(description="0 while it is not known")
    unit: str = Field(examples=["pages"])


class JobReply(BaseModel):
    id: str
    kind: str = Field(examples=["ingest"])
    status: str = Field(description="queued, running, succeeded, failed or cancelled")
    step: str = Field(examples=["index"])
    queue: str
    queue_position: int | None = Field(None, description="Jobs waiting in front of it; null when it does not wait")
    progress: Progress
    attempts: int = Field(description="Starts of the current step without progress")
    interruptions: int = Field(description="Times the current step was handed back because a worker stopped")
    worker: str = Field(description="Who works on it, or did last")
    document_id: str | None = None
    collection: str | None = None
    generation: int | None = Field(None, description="Of an upload: the collection's generation that contains it")
    error: ErrorReply | None = Field(None, description="Why it failed, or why its last attempt did")
    result: Any = None
    next: str = Field(description="What happens next, in one sentence")
    trace_id: str
    request_id: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]


class SubmissionReply(BaseModel):
    job_id: str
    document_id: str | None = None
    unchanged: bool = Field(default=False, description="The same bytes are there already, or being worked on")
    generation: int | None = Field(
        None, description="Of an upload: the collection's generation that will contain it; see `min_generation`"
    )
    status: str = Field("queued", description="succeeded when no work was needed", examples=["queued"])
    links: dict[str, str]


class BatchResult(BaseModel):
    name: str = Field(description="Of the file; empty when the form broke off before it", examples=["handbook.pdf"])
    submission: SubmissionReply | None = Field(None, description="When the file was accepted")
    problem: Problem | None = Field(None, description="When it was not")


class BatchReply(BaseModel):
    results: list[BatchResult] = Field(description="One for each file that was read, in the form's order")


class DocumentReply(BaseModel):
    id: str
    name: str
    collection: str
    state: str = Field(
        description="accepted, converting, splitting, indexing, indexed, failed, cancelled, deleting, deleted"
    )
    version: int = Field(description="The version that answers questions; 0 while none does")
    accepted_version: int = Field(description="The newest uploaded version")
    sha256: str
    size_bytes: int
    pages: int
    chunks: int
    metadata: dict[str, str | int | float | bool] = Field({}, description="What questions may filter by")
    error: ErrorReply | None = None
    created_at: datetime
    updated_at: datetime
    job: JobReply | None = Field(None, description="The newest job, while the service remembers it")
    workers: list[str] = Field(default=[], description="Living workers of the queue its job waits on or runs in")
    links: dict[str, str]


class DocumentList(BaseModel):
    documents: list[DocumentReply]
    next: str | None = Field(None, description="Address of the next page")


class CollectionReply(BaseModel):
    name: str
    documents: int
    chunks: int
    generation: int = Field(description="Goes up with every visible change")
    embedding_space: str
    created_at: datetime
    links: dict[str, str]


class CollectionList(BaseModel):
    collections: list[CollectionReply]
    next: str | None = Field(None, description="Address of the next page")


class CitationReply(BaseModel):
    document_id: str
    document: str
    page: int = Field(description="1 for the first page")
    start: int = Field(description="First character in the page's text")
    end: int = Field(description="Character after the last one")
    chunk_id: str
    quote: str


class AnswerReply(BaseModel):
    job_id: str
    answer: str
    answered: bool = Field(description="False when the collection holds no evidence")
    citations: list[CitationReply]
    usage: dict[str, int] = {}
    generation: int = Field(description="The collection's generation the answer rests on")
    truncated: bool = Field(default=False, description="The answer ended at `max_tokens`")
    cached: bool = Field(default=False, description="The answer of an earlier question with the same words")
    pending_documents: int = Field(
        0, description="When there is no answer: documents still being indexed, which may hold it"
    )
