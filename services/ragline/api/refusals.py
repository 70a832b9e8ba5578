"""Which errors an operation can answer with: the ones of all, those of its kind, and a table for the rest."""

from collections.abc import Mapping
from typing import Any

from ragline.common.errors import (
    AttemptsExhausted,
    BacklogFull,
    BudgetExhausted,
    Cancelled,
    Conflict,
    DivisionByZero,
    EmbeddingSpaceMismatch,
    EmptyUpload,
    Forbidden,
    GenerationNotReached,
    IdempotencyKeyReused,
    InternalError,
    InvalidRequest,
    NotFound,
    Overloaded,
    ProtocolError,
    Quarantined,
    RagError,
    RateLimited,
    RejectedError,
    RequestTimeout,
    TooLarge,
    TooManyStreams,
    TransientError,
    Unauthorized,
    UnsupportedMediaType,
)

__all__ = ["OF_OPERATIONS", "refusals"]

_Kinds = tuple[type[RagError], ...]

_WITH_A_KEY: _Kinds = (Unauthorized, Forbidden, RateLimited, TransientError)
_WITH_A_BODY: _Kinds = (InvalidRequest, RequestTimeout, TooLarge, UnsupportedMediaType)
_REPEATABLE: _Kinds = (InvalidRequest, IdempotencyKeyReused)
_STARTING_WORK: _Kinds = (BacklogFull, Overloaded)

_UPLOAD: _Kinds = (Conflict, EmbeddingSpaceMismatch, EmptyUpload, *_STARTING_WORK)
_QUESTION: _Kinds = (NotFound, EmbeddingSpaceMismatch, BudgetExhausted, *_STARTING_WORK)
_WAITING: _Kinds = (AttemptsExhausted, Cancelled, ProtocolError, Quarantined, RejectedError)
"""What a job may end with, for those who wait for it."""

OF_OPERATIONS: Mapping[str, _Kinds] = {
    "calculate_add": _STARTING_WORK,
    "calculate_divide": (DivisionByZero, *_STARTING_WORK),
    "cancel_job": (Conflict, NotFound),
    "chat_completions": (*_QUESTION, *_WAITING, Conflict, GenerationNotReached, TooManyStreams),
    "create_embeddings": (NotFound, *_STARTING_WORK, *_WAITING),
    "delete_collection": (NotFound,),
    "delete_document": (NotFound,),
    "get_collection": (NotFound,),
    "get_document": (NotFound,),
    "get_error": (NotFound,),
    "get_job": (NotFound,),
    "get_job_events": (NotFound, TooManyStreams),
    "get_model": (NotFound,),
    "get_task_status": (NotFound,),
    "get_tasks_info": (),
    "healthz": (),
    "list_collections": (),
    "list_documents": (NotFound,),
    "list_models": (),
    "process": _STARTING_WORK,
    "query": _QUESTION,
    "query_collection": (*_QUESTION, *_WAITING, Conflict, GenerationNotReached, TooManyStreams),
    "query_sync": (*_QUESTION, *_WAITING),
    "readyz": (TransientError,),
    "start_pipeline": (NotFound, *_UPLOAD),
    "upload_document": _UPLOAD,
    "upload_documents": _UPLOAD,
    "verify_collection": (NotFound, *_STARTING_WORK),
    "workflow_chain": (DivisionByZero, *_STARTING_WORK),
    "workflow_parallel": (DivisionByZero, *_STARTING_WORK),
}


def refusals(operation: Mapping[str, Any]) -> set[type[RagError]]:
    """All errors that an operation of the OpenAPI document can answer with."""
    kinds: set[type[RagError]] = {InternalError, *OF_OPERATIONS.get(operation["operationId"], ())}
    parameters = operation.get("parameters", ())
    if "security" in operation:
        kinds.update(_WITH_A_KEY)
    if "requestBody" in operation:
        kinds.update(_WITH_A_BODY)
    if any(parameter["in"] != "path" or "pattern" in parameter["schema"] for parameter in parameters):
        kinds.add(InvalidRequest)
    if any(parameter["name"] == "Idempotency-Key" for parameter in parameters):
        kinds.update(_REPEATABLE)
    return kinds
