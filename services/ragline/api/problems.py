"""Every 4xx and 5xx as RFC 9457 problem details."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from ragline.api.media_types import is_json
from ragline.common.errors import (
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RagError,
    RequestTimeout,
    Unauthorized,
    UnsupportedMediaType,
)
from ragline.common.spans import note_failure
from ragline.common.trace_context import TraceContext

__all__ = [
    "PROBLEM_MEDIA_TYPE",
    "FieldProblem",
    "Problem",
    "ids_of",
    "install_problem_handlers",
    "openai_error",
    "problem",
    "problem_response",
]

logger = structlog.get_logger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"

_OPENAI_PATHS = ("/v1/chat/", "/v1/embeddings", "/v1/models")

_RETRY_AFTER_SECONDS = 2
"""Told to clients when a part is away: the supervisor or Kubernetes restarts most parts within seconds."""


class FieldProblem(BaseModel):
    """One field that is wrong."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the request", examples=["/body/top_k"])
    detail: str = Field(examples=["Input should be greater than or equal to 1"])


class Problem(BaseModel):
    """What went wrong, for programs and for people."""

    type: str = Field(description="Address of a page about this code", examples=["/errors/not_found"])
    title: str = Field(examples=["There is no such thing"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no such document"])
    code: str = Field(description="Stable name of the error", examples=["not_found"])
    request_id: str = Field(description="Names this request in the service's logs", examples=["req_3f2a"])
    trace_id: str = Field(
        description="Names its trace, and the log lines of all that it caused",
        examples=["4bf92f3577b34da6a3ce929d0e0e4736"],
    )
    retryable: bool = Field(description="Whether the same request may succeed later", examples=[False])
    errors: list[FieldProblem] = Field(default=[], description="The fields that are wrong, for invalid requests")


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every error of the app with a problem."""

    @app.exception_handler(RagError)
    async def _named(request: Request, error: RagError) -> Response:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            note_failure(error)
            logger.warning("request failed", next=f"the caller is answered {error.status:d}", **error.to_log())
        return problem_response(error, *ids_of(request), path=request.url.path)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        named = _wrong_media_type(request, error) or _invalid_request(error)
        return problem_response(named, *ids_of(request), path=request.url.path)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        named = error.__cause__ if isinstance(error.__cause__, RagError) else _from_status(error)
        headers = dict(error.headers or {})
        if isinstance(named, MethodNotAllowed):
            headers["Allow"] = _allowed(request)
        return problem_response(named, *ids_of(request), path=request.url.path, headers=headers)


def openai_error(error: RagError) -> dict[str, str | None]:
    """The error in the shape that OpenAI's clients read: a member of the problem, or a chunk of a stream."""
    told = problem(error, "", "")
    param = told.errors[0].pointer.removeprefix("/body/") if told.errors else None
    return {"message": told.detail, "type": _openai_type(error), "code": error.code, "param": param}


def problem(error: RagError, request_id: str, trace_id: str) -> Problem:
    """The problem that tells of an error; a defect of ours tells nothing but its code."""
    detail = "The error was recorded" if isinstance(error, InternalError) else error.detail
    return Problem(
        type=f"/errors/{error.code}",
        title=error.title,
        status=error.status,
        detail=detail,
        code=error.code,
        request_id=request_id,
        trace_id=trace_id,
        retryable=error.retryable,
        errors=[FieldProblem(**field) for field in error.errors] if isinstance(error, InvalidRequest) else [],
    )


def problem_response(
    error: RagError, request_id: str, trace_id: str, *, path: str = "", headers: dict[str, str] | None = None
) -> Response:
    """The problem as a reply, with ``Retry-After`` when another try makes sense.

    Parameters
    ----------
    path
        Of the request: where OpenAI's clients call, they find the error in their own shape as well.
    """
    content = problem(error, request_id, trace_id).model_dump()
    if path.startswith(_OPENAI_PATHS):
        content["error"] = openai_error(error)
    sent = dict(headers or {})
    if isinstance(error, Unauthorized):
        # RFC 9110, section 11.6.1: a 401 must name a scheme that is accepted.
        sent["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RequestTimeout):
        # RFC 9110, section 15.5.9: the rest of the body would be read as the next request.
        sent["Connection"] = "close"
    if error.retryable:
        asked = error.retry_after
        sent["Retry-After"] = str(max(1, ceil(asked.total_seconds())) if asked else _RETRY_AFTER_SECONDS)
    return JSONResponse(content, error.status, sent, media_type=PROBLEM_MEDIA_TYPE)


def ids_of(request: Request) -> tuple[str, str]:
    """The ids that name this request and its trace in logs and replies."""
    trace: TraceContext | None = getattr(request.state, "trace", None)
    return trace.ids if trace else ("", "")


def _allowed(request: Request) -> str:
    """All methods of this address; Starlette names those of the first route alone."""
    operations = [
        item
        for template, item in request.app.openapi()["paths"].items()
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), request.url.path)
    ]
    return ", ".join(sorted({method.upper() for item in operations for method in item}))


def _openai_type(error: RagError) -> str:
    match error.status:
        case HTTPStatus.UNAUTHORIZED:
            return "authentication_error"
        case HTTPStatus.FORBIDDEN:
            return "permission_error"
        case HTTPStatus.TOO_MANY_REQUESTS:
            return "rate_limit_error"
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return "server_error"
        case _:
            return "invalid_request_error"


def _from_status(error: HTTPException) -> RagError:
    match error.status_code:
        case 404:
            return NotFound("There is nothing at this address")
        case 405:
            return MethodNotAllowed("This address does not take that method")
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return InternalError(str(error.detail))
        case _:
            return InvalidRequest(str(error.detail))


def _invalid_request(error: RequestValidationError) -> InvalidRequest:
    fields = [_wrong_field(problem) for problem in error.errors()]
    return InvalidRequest("; ".join(f"{field['pointer']}: {field['detail']}" for field in fields), fields)


def _wrong_field(problem: Mapping[str, Any]) -> dict[str, str]:
    if problem["type"] == "json_invalid":
        # FastAPI says at which character, as if that were a part of the body.
        *place, character = problem["loc"]
        return {"pointer": _pointer(place), "detail": f"{problem['msg']} at character {character}"}
    return {"pointer": _pointer(problem["loc"]), "detail": problem["msg"]}


def _pointer(place: Sequence[str | int]) -> str:
    """See RFC 6901."""
    return "/" + "/".join(map(_escaped, place))


def _wrong_media_type(request: Request, error: RequestValidationError) -> UnsupportedMediaType | None:
    unread = any(problem["loc"] == ("body",) and problem["type"] != "missing" for problem in error.errors())
    return None if not unread or is_json(request) else UnsupportedMediaType("Send application/json")


def _escaped(part: Any) -> str:  # noqa: ANN401 - a key or an index
    return str(part).replace("~", "~0").replace("/", "~1")
