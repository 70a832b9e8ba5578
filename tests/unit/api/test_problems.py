"""Every error is an RFC 9457 problem with a stable code."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import structlog
from fastapi import FastAPI, HTTPException
from structlog.typing import EventDict

from ragline.api import main, problems
from ragline.api.main import create_app
from ragline.api.middleware import BodyLimitMiddleware, RequestContextMiddleware
from ragline.api.problems import PROBLEM_MEDIA_TYPE, install_problem_handlers
from ragline.api.schemas import QueryRequest
from ragline.common.config import ApiConfig
from ragline.common.errors import (
    DependencyError,
    InternalError,
    RagError,
    RejectedError,
    TransientError,
    Unauthorized,
    error_class,
)
from tests.support.access import access_control

SECRET = "what went wrong, with a secret in it"

EXPECTED = {
    "attempts_exhausted": (503, True),
    "backlog_full": (429, True),
    "budget_exhausted": (429, True),
    "cancelled": (409, False),
    "conflict": (409, False),
    "dependency_protocol": (502, False),
    "dependency_rejected": (502, False),
    "dependency_unavailable": (503, True),
    "division_by_zero": (422, False),
    "embedding_space_mismatch": (409, False),
    "empty_upload": (422, False),
    "encrypted": (422, False),
    "forbidden": (403, False),
    "generation_not_reached": (409, True),
    "idempotency_key_reused": (422, False),
    "internal_error": (500, False),
    "invalid_request": (422, False),
    "malformed_pdf": (422, False),
    "method_not_allowed": (405, False),
    "no_text": (422, False),
    "not_found": (404, False),
    "overloaded": (503, True),
    "parser_crashed": (422, False),
    "parser_timeout": (422, False),
    "quarantined": (500, False),
    "rate_limited": (429, True),
    "request_timeout": (408, False),
    "superseded": (409, False),
    "too_large": (413, False),
    "too_many_pages": (422, False),
    "too_many_streams": (429, True),
    "unauthorized": (401, False),
    "unsupported_media_type": (415, False),
}
"""Status and `retryable` by code: clients rely on them."""


def _leaves(kind: type[RagError] = RagError) -> Iterator[type[RagError]]:
    below = [child for child in kind.__subclasses__() if child.__module__ == RagError.__module__]
    if not below:
        yield kind
    for child in below:
        yield from _leaves(child)


def _error(kind: type[RagError]) -> RagError:
    return kind("redis", "read", SECRET) if issubclass(kind, DependencyError) else kind(SECRET)


def _reply(app: FastAPI, path: str, *, method: str = "GET", **request: Any) -> httpx2.Response:  # noqa: ANN401 - of `AsyncClient.request`
    async def send() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client:
            return await client.request(method, path, **request)

    return asyncio.run(send())


def _problem(reply: httpx2.Response) -> dict[str, Any]:
    body: dict[str, Any] = reply.json()
    assert reply.headers["content-type"] == PROBLEM_MEDIA_TYPE
    assert body["status"] == reply.status_code
    assert body["request_id"] == reply.headers["x-request-id"] != ""
    assert body["trace_id"] == reply.headers["traceparent"][3:35]
    assert body["type"] == f"/errors/{body['code']}"
    return body


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EventDict]]:
    monkeypatch.setattr(problems, "logger", structlog.get_logger())
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The real app, connected to nothing."""
    monkeypatch.setattr(main, "configure_logging", lambda **_: None)
    app = create_app(ApiConfig())
    app.state.context = SimpleNamespace(config=ApiConfig(), access=access_control())
    return app


def _raising(error: Exception) -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)
    app.add_middleware(BodyLimitMiddleware, max_upload_bytes=100)
    app.add_middleware(RequestContextMiddleware)

    @app.get("/raise")
    async def _raise() -> None:
        raise error

    @app.post("/ask")
    async def _ask(_body: QueryRequest) -> None:
        raise error

    return app


def test_the_table_names_every_leaf() -> None:
    leaves = {leaf.code: leaf for leaf in _leaves()}

    assert leaves.keys() == EXPECTED.keys()
    assert len(list(_leaves())) == len(leaves)


@pytest.mark.parametrize("code", EXPECTED)
def test_every_leaf_has_its_status(code: str, logs: list[EventDict]) -> None:
    status, retryable = EXPECTED[code]
    error = _error(error_class(code))

    reply = _reply(_raising(error), "/raise")

    problem = _problem(reply)
    assert (reply.status_code, problem["code"], problem["retryable"]) == (status, code, retryable)
    assert problem["title"] == type(error).title
    assert problem["errors"] == []
    assert ("retry-after" in reply.headers) == retryable
    assert [entry["error_code"] for entry in logs if "error_code" in entry] == ([code] if status >= 500 else [])


def test_a_defect_tells_its_caller_nothing_and_the_log_everything(logs: list[EventDict]) -> None:
    reply = _reply(_raising(InternalError(SECRET)), "/raise")

    assert _problem(reply)["detail"] == "The error was recorded"
    assert SECRET not in reply.text
    assert SECRET in [entry.get("error_detail") for entry in logs]


def test_other_errors_say_what_happened() -> None:
    rejected = _problem(_reply(_raising(RejectedError("openai", "embed", "HTTP 401")), "/raise"))

    assert rejected["detail"] == "openai embed: HTTP 401"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (None, "2"),
        (timedelta(seconds=7), "7"),
        (timedelta(milliseconds=20), "1"),
        (timedelta(seconds=90), "90"),
        (timedelta(), "2"),
    ],
)
def test_retry_after_is_what_the_other_side_asked_for(asked: timedelta | None, told: str) -> None:
    reply = _reply(_raising(TransientError("openai", "chat", "HTTP 429", asked)), "/raise")

    assert reply.headers["retry-after"] == told


def test_a_401_names_the_scheme() -> None:
    assert _reply(_raising(Unauthorized("no")), "/raise").headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("status", "answered", "code"),
    [
        (400, 422, "invalid_request"),
        (404, 404, "not_found"),
        (405, 405, "method_not_allowed"),
        (500, 500, "internal_error"),
        (503, 500, "internal_error"),
    ],
)
def test_a_library_s_http_error_is_a_problem_too(status: int, answered: int, code: str) -> None:
    reply = _reply(_raising(HTTPException(status, "It is so", headers={"Allow": "GET"})), "/raise")

    assert (reply.status_code, _problem(reply)["code"]) == (answered, code)
    assert reply.headers["allow"] == "GET"


def test_an_http_error_around_one_of_ours_is_ours() -> None:
    """FastAPI wraps what is raised while a body is read."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 2**19

    reply = _reply(
        _raising(KeyError()), "/ask", method="POST", content=body(), headers={"Content-Type": "application/json"}
    )

    assert (reply.status_code, _problem(reply)["code"]) == (413, "too_large")


def test_wrong_fields_are_named_by_json_pointer() -> None:
    reply = _reply(_raising(KeyError()), "/ask", method="POST", json={"question": " ", "top_k": 0, "a/b~c": 1})

    problem = _problem(reply)
    assert (reply.status_code, problem["code"]) == (422, "invalid_request")
    assert {field["pointer"] for field in problem["errors"]} == {"/body/question", "/body/top_k", "/body/a~1b~0c"}
    assert all(field["detail"] for field in problem["errors"])


@pytest.mark.parametrize("body", [b"{nope", b"\xff\xfe", b'"' + b"x" * 100, b"[" * 100_000], ids=repr)
def test_a_body_that_is_no_json_is_a_problem(body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    reply = _reply(_raising(KeyError()), "/ask", method="POST", content=body, headers=headers)

    assert (reply.status_code, _problem(reply)["code"]) == (422, "invalid_request")


def test_json_that_breaks_off_says_where() -> None:
    headers = {"Content-Type": "application/json"}
    told = _problem(_reply(_raising(KeyError()), "/ask", method="POST", content=b'{"question": ', headers=headers))
    assert told["errors"] == [{"pointer": "/body", "detail": "JSON decode error at character 13"}]


def test_an_unknown_address_is_404(service: FastAPI) -> None:
    for path in ("/nope", "/v1/nope", "/v1/collections/a/b/c", "/v1/jobs/a/b"):
        reply = _reply(service, path)
        assert (reply.status_code, _problem(reply)["code"]) == (404, "not_found"), path


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/tasks/info"), ("PUT", "/v1/collections"), ("GET", "/rag/query")]
)
def test_a_wrong_method_is_405_and_names_the_right_one(service: FastAPI, method: str, path: str) -> None:
    reply = _reply(service, path, method=method)

    assert (reply.status_code, _problem(reply)["code"]) == (405, "method_not_allowed")
    assert reply.headers["allow"]


@pytest.mark.parametrize("code", EXPECTED)
def test_every_code_has_a_page(service: FastAPI, code: str) -> None:
    reply = _reply(service, f"/errors/{code}")

    assert reply.status_code == 200
    assert f"HTTP status {EXPECTED[code][0]}." in reply.text
    assert ("may succeed later" in reply.text) == EXPECTED[code][1]


def test_an_unknown_code_has_none(service: FastAPI) -> None:
    assert _problem(_reply(service, "/errors/never_heard_of"))["code"] == "not_found"


@pytest.mark.parametrize("cursor", ["no cursor", "LTE", "eHl6", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "é"])
def test_a_cursor_that_is_not_ours_is_422(service: FastAPI, cursor: str) -> None:
    async def collection(*_: str) -> None: ...

    service.state.context.ledger = SimpleNamespace(collection=collection)

    reply = _reply(service, "/v1/collections/papers/documents", params={"cursor": cursor})

    assert (reply.status_code, _problem(reply)["code"]) == (422, "invalid_request")
