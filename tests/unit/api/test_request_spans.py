"""A request is a span: the caller's trace goes on, what failed is kept, and nothing that people wrote is in it."""

import asyncio
from collections.abc import Iterator

import httpx2
import pytest
import structlog
from fastapi import FastAPI, Request

from ragline.api import middleware, problems
from ragline.api.middleware import DefectMiddleware, RequestContextMiddleware
from ragline.api.problems import install_problem_handlers
from ragline.common.errors import NotFound, TransientError
from ragline.common.span_names import SpanKind
from ragline.common.spans import Span, Tracer, child_span, use_tracer

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = f"{CALLER}-01", f"{CALLER}-00"
WRITTEN = "a-name-that-people-chose"


@pytest.fixture(autouse=True)
def delivered(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Span]]:
    for module in (middleware, problems):
        monkeypatch.setattr(module, "logger", structlog.get_logger())
    spans: list[Span] = []
    use_tracer(Tracer(ratio=0, content=False, deliver=spans.append))
    yield spans
    use_tracer(None)


def _app() -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)
    app.add_middleware(DefectMiddleware)
    app.add_middleware(RequestContextMiddleware)

    @app.get("/things/{name}")
    async def _thing(request: Request, name: str) -> str:
        with child_span("accept"):
            match name:
                case "away":
                    raise TransientError("chroma", "query", "HTTP 503")
                case "missing":
                    raise NotFound("There is no such thing")
                case "defect":
                    raise ZeroDivisionError(name)
                case _:
                    pass
        traceparent: str = request.state.trace.traceparent
        return traceparent

    @app.get("/healthz")
    async def _healthz() -> None:
        pass

    return app


def _get(path: str, traceparent: str) -> httpx2.Response:
    async def get() -> httpx2.Response:
        transport = httpx2.ASGITransport(_app())
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers={"traceparent": traceparent, "x-request-id": "req_1"})

    with structlog.testing.capture_logs():
        return asyncio.run(get())


def test_a_callers_trace_goes_on(delivered: list[Span]) -> None:
    reply = _get(f"/things/{WRITTEN}?question={WRITTEN}", SAMPLED)
    accept, request = delivered
    assert (request.trace_id, request.parent_id, request.kind) == (CALLER[3:35], CALLER[36:], SpanKind.SERVER)
    assert (accept.parent_id, accept.name) == (request.span_id, "accept")
    # What the job's record and its messages carry, and what the caller is told, is this span.
    assert reply.json() == reply.headers["traceparent"] == request.traceparent
    assert request.name == "GET /things/{name}"
    assert request.attributes == {
        "http.request.method": "GET",
        "http.route": "/things/{name}",
        "http.response.status_code": 200,
        "ragline.request_id": "req_1",
    }


@pytest.mark.parametrize(
    ("path", "status", "error"), [("away", 503, "dependency_unavailable"), ("defect", 500, "ZeroDivisionError")]
)
def test_what_failed_is_kept_though_it_is_not_sampled(
    delivered: list[Span], path: str, status: int, error: str
) -> None:
    assert _get(f"/things/{path}", NOT_SAMPLED).status_code == status
    assert [(span.name, span.error) for span in delivered] == [("accept", error), ("GET /things/{name}", error)]


@pytest.mark.parametrize("path", ["/things/fine", "/things/missing", "/nowhere"])
def test_what_did_not_fail_is_not(delivered: list[Span], path: str) -> None:
    assert _get(path, NOT_SAMPLED).headers["traceparent"].endswith("-00")
    assert delivered == []


def test_a_caller_who_errs_is_no_failure_of_ours(delivered: list[Span]) -> None:
    assert _get("/nowhere", SAMPLED).status_code == 404
    assert [(span.name, span.error) for span in delivered] == [("GET unmatched", "")]


def test_a_probe_is_no_span(delivered: list[Span]) -> None:
    assert _get("/healthz", SAMPLED).headers["traceparent"] == SAMPLED
    assert delivered == []
