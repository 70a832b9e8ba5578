"""The queues, the steps that run on them and the tasks that do the steps: what everything else is checked against."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CANVAS_TASKS", "FIRST_STEP", "NEXT_STEP", "ROUTES", "JobKind", "Queue", "Step", "StepRoute"]


class Queue(StrEnum):
    """A Celery queue; one worker Deployment consumes exactly one of them.

    They are split by resource profile so that each scales and times out alone: ``default`` is short mixed work,
    ``document`` burns CPU (prefork pool), ``vectorstore`` waits for embeddings and is the only writer to Chroma
    (thread pool, few replicas), ``rag`` waits for models (thread pool, always on).
    """

    DEFAULT = "default"
    DOCUMENT = "document"
    VECTORSTORE = "vectorstore"
    RAG = "rag"

    @property
    def purpose(self) -> str:
        """One line for operators, shown by ``GET /tasks/info``."""
        return _PURPOSES[self]


_PURPOSES = {
    Queue.DEFAULT: "Demo calculations, data processing, verification",
    Queue.DOCUMENT: "PDF loading and text splitting",
    Queue.VECTORSTORE: "Embedding, indexing and deletion: the only writer to Chroma",
    Queue.RAG: "Retrieval and question answering",
}


class JobKind(StrEnum):
    """What a job is for; decides its steps."""

    INGEST = "ingest"
    QUERY = "query"
    DELETE = "delete"
    CLEAN = "clean"
    VERIFY = "verify"
    PROCESS = "process"
    WORKFLOW = "workflow"
    DROP = "drop"
    EMBED = "embed"


class Step(StrEnum):
    """One task's share of a job."""

    CONVERT = "convert"
    SPLIT = "split"
    INDEX = "index"
    ANSWER = "answer"
    DELETE = "delete"
    CLEAN = "clean"
    VERIFY = "verify"
    PROCESS = "process"
    WORKFLOW = "workflow"
    DROP = "drop"
    EMBED = "embed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRoute:
    """Where a step runs: its queue and the Celery task name that does it."""

    step: Step
    queue: Queue
    task: str


ROUTES: dict[Step, StepRoute] = {
    route.step: route
    for route in (
        StepRoute(step=Step.CONVERT, queue=Queue.DOCUMENT, task="load_pdf_task"),
        StepRoute(step=Step.SPLIT, queue=Queue.DOCUMENT, task="split_documents_task"),
        StepRoute(step=Step.INDEX, queue=Queue.VECTORSTORE, task="create_vectorstore_task"),
        StepRoute(step=Step.ANSWER, queue=Queue.RAG, task="query_vectorstore_task"),
        StepRoute(step=Step.DELETE, queue=Queue.VECTORSTORE, task="delete_document_task"),
        StepRoute(step=Step.DROP, queue=Queue.VECTORSTORE, task="delete_collection_task"),
        StepRoute(step=Step.CLEAN, queue=Queue.VECTORSTORE, task="clean_document_task"),
        StepRoute(step=Step.VERIFY, queue=Queue.DEFAULT, task="verify_collection_task"),
        StepRoute(step=Step.PROCESS, queue=Queue.DEFAULT, task="process_data_task"),
        StepRoute(step=Step.WORKFLOW, queue=Queue.DEFAULT, task="start_workflow_task"),
        StepRoute(step=Step.EMBED, queue=Queue.RAG, task="embed_texts_task"),
    )
}
"""Every step has exactly one queue and one task."""

CANVAS_TASKS: dict[str, Queue] = {
    "add_numbers_task": Queue.DEFAULT,
    "divide_numbers_task": Queue.DEFAULT,
    "sum_numbers_task": Queue.DEFAULT,
    "finish_workflow_task": Queue.DEFAULT,
    "fail_workflow_task": Queue.DEFAULT,
}
"""Plain Celery tasks that ``start_workflow_task`` strings into a chain or a chord."""

FIRST_STEP: dict[JobKind, Step] = {
    JobKind.INGEST: Step.CONVERT,
    JobKind.QUERY: Step.ANSWER,
    JobKind.DELETE: Step.DELETE,
    JobKind.DROP: Step.DROP,
    JobKind.CLEAN: Step.CLEAN,
    JobKind.VERIFY: Step.VERIFY,
    JobKind.PROCESS: Step.PROCESS,
    JobKind.WORKFLOW: Step.WORKFLOW,
    JobKind.EMBED: Step.EMBED,
}

NEXT_STEP: dict[Step, Step] = {Step.CONVERT: Step.SPLIT, Step.SPLIT: Step.INDEX}
"""The step that follows; a step without an entry ends its job."""
