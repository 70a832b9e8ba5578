"""The observer: takes traces over OTLP/HTTP and shows them. ``uvicorn ragline.cli.observer.main:create_app --factory``.

For one person on one computer: it listens on 127.0.0.1, keeps what it knows in memory, and asks for no key.
"""

import re
from http import HTTPStatus

import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ragline.cli.observer.memory import TraceMemory
from ragline.cli.observer.otlp import MAX_MESSAGE_BYTES, NotOtlp, decompressed, read_spans
from ragline.cli.observer.pages import POLICY, missing_page, trace_list_page, trace_page
from ragline.cli.traces.jaeger import trace_json

__all__ = ["create_app"]

logger = structlog.get_logger(__name__)

_PROTOBUF = "application/x-protobuf"
_LISTED = 200

_HOSTS = ["127.0.0.1", "localhost"]
"""A page of the web that gives its own name this address, to read what is here, is refused."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

_TRACE_ID = re.compile(r"[0-9a-f]{32}")


def create_app() -> Starlette:
    """The app with an empty memory."""
    observer = _Observer(TraceMemory())
    routes = [
        Route("/", observer.list_traces),
        Route("/trace/{trace_id}", observer.show_trace),
        Route("/api/traces/{trace_id}", observer.give_trace),
        Route("/healthz", _healthz),
        Route("/v1/traces", observer.take, methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS)])


async def _healthz(_request: Request) -> Response:
    return PlainTextResponse("ok")


class _Observer:
    def __init__(self, memory: TraceMemory) -> None:
        self._memory = memory

    async def give_trace(self, request: Request) -> Response:
        trace_id = request.path_params["trace_id"].lower()
        spans = self._memory.spans(trace_id)
        if not spans:
            missing = {"data": None, "total": 0, "limit": 0, "offset": 0}
            error = {"code": HTTPStatus.NOT_FOUND, "msg": "trace not found"}
            return JSONResponse({**missing, "errors": [error]}, HTTPStatus.NOT_FOUND)
        return JSONResponse(trace_json(spans), headers=_HEADERS)

    async def list_traces(self, request: Request) -> Response:
        text = request.query_params.get("q", "").strip()
        found = self._memory.found(text, limit=_LISTED)
        return HTMLResponse(trace_list_page(found, text=text, limit=_LISTED), headers=_HEADERS)

    async def show_trace(self, request: Request) -> Response:
        trace_id = request.path_params["trace_id"].lower()
        spans, summary = self._memory.spans(trace_id), self._memory.summary(trace_id)
        if not spans or summary is None:
            shown = trace_id if _TRACE_ID.fullmatch(trace_id) else "of this name"
            return HTMLResponse(missing_page(shown), HTTPStatus.NOT_FOUND, headers=_HEADERS)
        return HTMLResponse(trace_page(spans, summary), headers=_HEADERS)

    async def take(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != _PROTOBUF:
            return _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"only {_PROTOBUF} is taken here")
        body = await _body(request)
        if body is None:
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a message has at most {MAX_MESSAGE_BYTES} bytes")
        try:
            plain = decompressed(body) if request.headers.get("content-encoding") == "gzip" else body
            self._memory.add(read_spans(plain))
        except NotOtlp as error:
            return _refusal(HTTPStatus.BAD_REQUEST, str(error))
        return Response(ExportTraceServiceResponse().SerializeToString(), media_type=_PROTOBUF)


async def _body(request: Request) -> bytes | None:
    """The body, or None when it is too large: what comes after its bound is not read."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_MESSAGE_BYTES:
            return None
    return bytes(body)


def _refusal(status: HTTPStatus, reason: str) -> Response:
    logger.warning("spans not taken", status=status, reason=reason, lost="the spans of one message")
    return PlainTextResponse(reason, status)
