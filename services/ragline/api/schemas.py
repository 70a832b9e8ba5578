"""Bodies of requests and replies."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from ragline.api.problems import Problem
from ragline.common.constants import MAX_DATA_CHARS, MAX_QUESTION_CHARS, MAX_TOP_K
from ragline.common.identifiers import COLLECTION_NAME

__all__ = [
    "AddRequest",
    "AnswerReply",
    "BatchReply",
    "BatchResult",
    "ChainRequest",
    "CitationReply",
    "CollectionList",
    "CollectionReply",
    "Count",
    "DivideRequest",
    "DocumentList",
    "DocumentReply",
    "ErrorReply",
    "Generation",
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
    "TopK",
]

_MAX_NUMBER = 2**53 - 1
"""Largest number that every JSON reader takes for the same one (RFC 8259, section 6)."""

_Number = (
    Annotated[int, Field(strict=True, ge=-_MAX_NUMBER, le=_MAX_NUMBER)]
    | Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-_MAX_NUMBER, le=_MAX_NUMBER)]
)
_Question = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUESTION_CHARS, pattern=r"\S")
]


def _whole(value: object) -> object:
    # JSON has one kind of number: 3.0 is an integer there (JSON Schema, section 6.1.1). "3" and true are none.
    return int(value) if isinstance(value, float) and value.is_integer() else value


# Outermost: within the bounds it would take them out of the JSON schema.
_WHOLE = BeforeValidator(_whole)
_Folder = Annotated[
    str,
    Field(
        max_length=4096,
        pattern=f"(^|/){COLLECTION_NAME}/*$",
        description="Its last part names the collection",
    ),
]
Count = Annotated[int, Field(strict=True, ge=1, le=_MAX_NUMBER), _WHOLE]
Generation = Annotated[int, Field(strict=True, ge=0, le=_MAX_NUMBER), _WHOLE]
TopK = Annotated[
    int,
    Field(strict=True, ge=1, le=MAX_TOP_K, description="Passages the answer may rest on; default: the service's"),
    _WHOLE,
]


_MOMENT = "2025-03-14T09:26:53.589000Z"
_JOB = "/v1/jobs/job_9d24b1f07c3e4a55b8e21c6f"
_BESIDE_JOB = {"events": f"{_JOB}/events", "document": "/v1/documents/doc_5f1c0a9be2d34c7781a6f00d"}
_JOB_LINKS = {"job": _JOB, **_BESIDE_JOB}
"""Examples."""

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
    persist_directory: _Folder = Field(examples=["vectorstores/handbook"])


class OriginalQueryRequest(StrictModel):
    question: _Question = Field(examples=["What is the main topic of this document?"])
    persist_directory: _Folder = Field(examples=["vectorstores/handbook"])
    top_k: TopK | None = Field(None, examples=[3])


class QueryRequest(StrictModel):
    question: _Question = Field(examples=["How many weeks of parental leave are there?"])
    top_k: TopK | None = Field(None, examples=[3])
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
    max_tokens: Count | None = Field(None, description="Longest answer", examples=[300])
    min_generation: Generation | None = Field(
        None,
        description="The `generation` of an upload that must have ended, well or not: waits at most 30 s, else 409",
        examples=[1],
    )


class TaskSubmitted(BaseModel):
    task_id: str = Field(examples=["job_9d24b1f07c3e4a55b8e21c6f"])
    status: str = Field("Task submitted", examples=["Task submitted"])


class TaskStatus(BaseModel):
    task_id: str = Field(examples=["job_9d24b1f07c3e4a55b8e21c6f"])
    status: str = Field(description="Task submitted, Processing, Completed or Failed", examples=["Completed"])
    result: Any = Field(None, description="What the task returned", examples=[15])
    error: "ErrorReply | None" = None


class PipelineReply(BaseModel):
    task_ids: dict[str, str] = Field(
        description="Id of each of the pipeline's tasks by task name",
        examples=[{"load_pdf_task": "job_9d24b1f07c3e4a55b8e21c6f.convert"}],
    )
    job_id: str = Field(description="The job they are steps of", examples=["job_9d24b1f07c3e4a55b8e21c6f"])
    document_id: str = Field(examples=["doc_5f1c0a9be2d34c7781a6f00d"])
    status: str = "Task submitted"


class QueueReply(BaseModel):
    name: str = Field(examples=["rag"])
    purpose: str = Field(examples=["Answers questions"])
    tasks: list[str] = Field(examples=[["query_vectorstore_task"]])
    waiting: int = Field(
        description=(
            "Jobs nobody has taken yet: with a message on the queue, or held until their tenant's share has room"
        ),
        examples=[0],
    )
    in_flight: int = Field(description="Messages being worked on", examples=[1])
    workers: list[str] = Field(description="Workers that are alive", examples=[["rag@worker-1"]])


class TasksInfo(BaseModel):
    queues: list[QueueReply]
    registered_tasks: list[str] = Field(examples=[["query_vectorstore_task"]])


class ErrorReply(BaseModel):
    code: str = Field(examples=["no_text"])
    title: str = Field(examples=["The document holds no text (a scan?)"])
    detail: str = Field(examples=["No page of 12 holds text"])
    retryable: bool = Field(examples=[False])


class Progress(BaseModel):
    done: int = Field(examples=[12])
    total: int = Field(description="0 while it is not known", examples=[12])
    unit: str = Field(examples=["pages"])


class JobReply(BaseModel):
    id: str = Field(examples=["job_9d24b1f07c3e4a55b8e21c6f"])
    kind: str = Field(examples=["ingest"])
    status: str = Field(description="queued, running, succeeded, failed or cancelled", examples=["running"])
    step: str = Field(examples=["index"])
    queue: str = Field(examples=["vectorstore"])
    queue_position: int | None = Field(None, description="Jobs waiting in front of it; null when it does not wait")
    progress: Progress
    attempts: int = Field(description="Starts of the current step without progress", examples=[1])
    interruptions: int = Field(
        description="Times the current step was handed back because a worker stopped", examples=[0]
    )
    worker: str = Field(description="Who works on it, or did last", examples=["vectorstore@worker-1"])
    document_id: str | None = Field(None, examples=["doc_5f1c0a9be2d34c7781a6f00d"])
    collection: str | None = Field(None, examples=["handbook"])
    generation: int | None = Field(
        None, description="Of an upload: the collection's generation that contains it", examples=[3]
    )
    error: ErrorReply | None = Field(None, description="Why it failed, or why its last attempt did")
    result: Any = Field(None, examples=[None])
    next: str = Field(
        description="What happens next, in one sentence", examples=["vectorstore@worker-1 is working on step index"]
    )
    trace_id: str = Field(examples=["4bf92f3577b34da6a3ce929d0e0e4736"])
    request_id: str = Field(examples=["req_3f2a61c07b9d4e58"])
    created_at: datetime = Field(examples=[_MOMENT])
    started_at: datetime | None = Field(examples=[_MOMENT])
    finished_at: datetime | None = Field(examples=[None])
    links: dict[str, str] = Field(examples=[{"self": _JOB, **_BESIDE_JOB}])


class SubmissionReply(BaseModel):
    job_id: str = Field(examples=["job_9d24b1f07c3e4a55b8e21c6f"])
    document_id: str | None = Field(None, examples=["doc_5f1c0a9be2d34c7781a6f00d"])
    unchanged: bool = Field(default=False, description="The same bytes are there already, or being worked on")
    generation: int | None = Field(
        None,
        description="Of an upload: the collection's generation that contains it if it succeeds; see `min_generation`",
        examples=[3],
    )
    status: str = Field("queued", description="succeeded when no work was needed", examples=["queued"])
    links: dict[str, str] = Field(examples=[_JOB_LINKS])


class BatchResult(BaseModel):
    name: str = Field(description="Of the file; empty when the form broke off before it", examples=["handbook.pdf"])
    submission: SubmissionReply | None = Field(
        None,
        description="When the file was accepted",
        examples=[
            {
                "job_id": "job_9d24b1f07c3e4a55b8e21c6f",
                "document_id": "doc_5f1c0a9be2d34c7781a6f00d",
                "unchanged": False,
                "generation": 3,
                "status": "queued",
                "links": _JOB_LINKS,
            }
        ],
    )
    problem: Problem | None = Field(None, description="When it was not")


class BatchReply(BaseModel):
    results: list[BatchResult] = Field(description="One for each file that was read, in the form's order")


class DocumentReply(BaseModel):
    id: str = Field(examples=["doc_5f1c0a9be2d34c7781a6f00d"])
    name: str = Field(examples=["employee-handbook.pdf"])
    collection: str = Field(examples=["handbook"])
    state: str = Field(
        description="accepted, converting, splitting, indexing, indexed, failed, cancelled, deleting, deleted",
        examples=["indexed"],
    )
    version: int = Field(description="The version that answers questions; 0 while none does", examples=[1])
    accepted_version: int = Field(description="The newest uploaded version", examples=[1])
    sha256: str = Field(
        description="Of the newest uploaded version",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    size_bytes: int = Field(description="Of the newest uploaded version", examples=[48213])
    pages: int = Field(examples=[12])
    chunks: int = Field(examples=[57])
    metadata: dict[str, str | int | float | bool] = Field(
        {}, description="What questions may filter by", examples=[{"department": "hr", "year": 2025}]
    )
    error: ErrorReply | None = None
    created_at: datetime = Field(examples=[_MOMENT])
    updated_at: datetime = Field(examples=[_MOMENT])
    job: JobReply | None = Field(None, description="The newest job, while the service remembers it; not in lists")
    workers: list[str] = Field(
        default=[], description="Living workers of the queue its job waits on or runs in; not in lists"
    )
    links: dict[str, str] = Field(
        examples=[
            {"self": "/v1/documents/doc_5f1c0a9be2d34c7781a6f00d", "job": "/v1/jobs/job_9d24b1f07c3e4a55b8e21c6f"}
        ]
    )


class DocumentList(BaseModel):
    documents: list[DocumentReply]
    next: str | None = Field(None, description="Address of the next page")


class CollectionReply(BaseModel):
    name: str = Field(examples=["handbook"])
    documents: int = Field(examples=[1])
    chunks: int = Field(examples=[57])
    generation: int = Field(
        description="Goes up with every visible change; a failed upload may use up a number", examples=[3]
    )
    embedding_space: str = Field(examples=["local/all-MiniLM-L6-v2"])
    created_at: datetime = Field(examples=[_MOMENT])
    links: dict[str, str] = Field(
        examples=[
            {
                "self": "/v1/collections/handbook",
                "documents": "/v1/collections/handbook/documents",
                "queries": "/v1/collections/handbook/queries",
            }
        ]
    )


class CollectionList(BaseModel):
    collections: list[CollectionReply]
    next: str | None = Field(None, description="Address of the next page")


class CitationReply(BaseModel):
    document_id: str = Field(examples=["doc_5f1c0a9be2d34c7781a6f00d"])
    document: str = Field(examples=["employee-handbook.pdf"])
    page: int = Field(description="1 for the first page", examples=[7])
    start: int = Field(description="First character in the page's text", examples=[120])
    end: int = Field(description="Character after the last one", examples=[147])
    chunk_id: str = Field(examples=["0a8c5f0e7d3b4c1f9e2d6a7b8c9d0e1f"])
    quote: str = Field(examples=["Parental leave is 16 weeks."])


class AnswerReply(BaseModel):
    job_id: str = Field(examples=["job_9d24b1f07c3e4a55b8e21c6f"])
    answer: str = Field(examples=["Parental leave is 16 weeks. [1]"])
    answered: bool = Field(description="False when the collection holds no evidence", examples=[True])
    citations: list[CitationReply]
    usage: dict[str, int] = Field({}, examples=[{"prompt_tokens": 214, "completion_tokens": 9}])
    generation: int = Field(description="The collection's generation the answer rests on", examples=[3])
    truncated: bool = Field(default=False, description="The answer ended at `max_tokens`")
    cached: bool = Field(default=False, description="The answer of an earlier question with the same words")
    pending_documents: int = Field(
        0, description="When there is no answer: documents still being indexed, which may hold it"
    )
