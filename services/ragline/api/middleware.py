"""Around every request: its ids, one log line, headers for browsers, a bound of its body, a problem for a defect."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import override

from ragline.api.measuring import QUIET_PATHS, is_stream, measure_request, route_template
from ragline.api.problems import problem_response
from ragline.common.errors import Forbidden, InternalError, RequestTimeout, TooLarge
from ragline.common.span_names import (
    HTTP_METHOD,
    HTTP_ROUTE,
    HTTP_STATUS,
    REQUEST_ID,
    TENANT,
    SpanKind,
)
from ragline.common.spans import Span, active_tracer, entered, note_failure
from ragline.common.trace_context import TraceContext, new_trace

__all__ = [
    "BodyLimitMiddleware",
    "CrossOriginMiddleware",
    "DefectMiddleware",
    "RequestContextMiddleware",
    "SecurityHeadersMiddleware",
]

logger = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_UPLOAD_PATH = re.compile(r"/v1/collections/[^/]+/documents(?P<batch>/batch)?/?")

_JSON_BODY_LIMIT_BYTES = 2**20
"""Largest body of a request that is not an upload."""

_BATCH_UPLOADS = 20
"""A batch is for many small files: together they have at most the size of this many large ones, 2 GB by default, which
arrive within the minutes that proxies grant a request."""

_MULTIPART_SLACK_BYTES = 2**19
"""What a multipart form may add around its files: the metadata and the headers of its parts."""

_BODY_PAUSE_SECONDS = 30
"""Longest wait for the next part of a body: a phone that changes its network is back by then, and a client that only
holds its connection open does not hold an open upload with it for ever."""

_SLOWEST_BYTES_PER_SECOND = 1024
"""What a body must come in at, over the time we have waited for it and beyond one pause: a byte now and then is no
pause, and holds an upload open all the same. The slowest mobile network is ten times as fast."""


_SECURITY_HEADERS = [(b"referrer-policy", b"no-referrer"), (b"x-content-type-options", b"nosniff")]

_DATA_POLICY = b"default-src 'none'; frame-ancestors 'none'"
"""An answer is data: a browser that is made to show one runs nothing of it and puts it into no frame."""

_PAGES_POLICY = (
    b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; connect-src 'self'; worker-src blob:; "
    b"script-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"style-src 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    b"font-src https://fonts.gstatic.com; img-src data: https://fastapi.tiangolo.com https://cdn.redoc.ly"
)
"""What Swagger UI and ReDoc load, as FastAPI builds their pages."""

_PAGES = {"/docs", "/redoc"}

_TRANSPORT_SECURITY = b"max-age=31536000"
"""A year, for this host alone: what its neighbours speak is not ours to say."""

_Headers = list[tuple[bytes, bytes]]
"""As ASGI has them; names are in lower case."""

_SENT_BY_PAGES = (
    "Accept",
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "X-API-Key",
    "X-Request-ID",
    "traceparent",
)

_READ_BY_PAGES = (
    "ETag",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
    "traceparent",
)


class RequestContextMiddleware:
    """Gives every request its id and trace, sends what is known about it with the answer, and logs it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace, span = _begin(scope)
        scope.setdefault("state", {})["trace"] = trace
        started, status, answered_after = time.monotonic(), 0, 0.0

        def add(headers: _Headers, answered: int) -> None:
            nonlocal status, answered_after
            status, answered_after = answered, time.monotonic() - started
            known = {"x-request-id": trace.request_id, "traceparent": trace.traceparent}
            known |= scope["state"].get("headers", {})
            headers += [(name.lower().encode(), value.encode()) for name, value in known.items()]

        with structlog.contextvars.bound_contextvars(request_id=trace.request_id, trace_id=trace.trace_id):
            if span is None:
                await self._app(scope, receive, _adding(send, add))
            else:
                with entered(span):
                    try:
                        await self._app(scope, receive, _adding(send, add))
                    finally:
                        _describe(span, scope, status, trace)
            seconds = time.monotonic() - started
            _log_request(scope, status, seconds)
            measure_request(scope, status, answered_after if is_stream(scope) else seconds)


class SecurityHeadersMiddleware:
    """Tells browsers what they may do with an answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        def add(headers: _Headers, status: int) -> None:
            is_page = scope["path"] in _PAGES and status == HTTPStatus.OK
            headers.append((b"content-security-policy", _PAGES_POLICY if is_page else _DATA_POLICY))
            headers += _SECURITY_HEADERS
            # Over plain HTTP browsers ignore it, and a proxy in front may speak nothing else.
            if scope["scheme"] == "https":
                headers.append((b"strict-transport-security", _TRANSPORT_SECURITY))
            if all(name != b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"no-store"))

        await self._app(scope, receive, _adding(send, add))


class CrossOriginMiddleware(CORSMiddleware):
    """Opens the API to pages of these origins. No cookies: a key is sent by the page itself."""

    def __init__(self, app: ASGIApp, *, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=_SENT_BY_PAGES,
            expose_headers=_READ_BY_PAGES,
        )

    @override
    def preflight_response(self, request_headers: Headers) -> Response:
        allowed = super().preflight_response(request_headers)
        if allowed.status_code < HTTPStatus.BAD_REQUEST:
            return allowed
        known = structlog.contextvars.get_contextvars()
        refusal = Forbidden("Pages of this origin may not send that; CORS_ORIGINS lists those that may")
        return problem_response(refusal, known.get("request_id", ""), known.get("trace_id", ""))


class DefectMiddleware:
    """Turns an unexpected exception into a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answered = False

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except ClientDisconnect:
            logger.info("client left before its request was read", method=scope["method"], path=scope["path"])
        except Exception as error:
            note_failure(error)
            told = "the answer breaks off" if answered else "the caller is answered 500"
            logger.exception("request failed by a defect", next=told, method=scope["method"], path=scope["path"])
            if answered:
                raise
            failure = problem_response(InternalError("defect"), *scope["state"]["trace"].ids, path=scope["path"])
            await failure(scope, receive, send)


class BodyLimitMiddleware:
    """Refuses a body that is too large, at once or as it comes, and one that stops coming."""

    def __init__(self, app: ASGIApp, *, max_upload_bytes: int) -> None:
        self._app = app
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_bytes(scope["path"])
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            reply = problem_response(_too_large(limit), *scope["state"]["trace"].ids, path=scope["path"])
            await reply(scope, receive, send)
            return
        await self._app(scope, _bounded(receive, limit), send)

    def _limit_bytes(self, path: str) -> int:
        upload = _UPLOAD_PATH.fullmatch(path)
        if upload is None:
            return _JSON_BODY_LIMIT_BYTES
        return self._max_upload_bytes * (_BATCH_UPLOADS if upload["batch"] else 1) + _MULTIPART_SLACK_BYTES


def _bounded(receive: Receive, limit_bytes: int) -> Receive:
    seen, waited_seconds, complete = 0, 0.0, False

    async def bounded() -> Message:
        nonlocal seen, waited_seconds, complete
        if complete:
            # What comes after the body is the client's leaving: that may take as long as it likes.
            return await receive()
        clock = asyncio.get_running_loop().time
        started = clock()
        message = await _in_time(receive, _BODY_PAUSE_SECONDS + seen / _SLOWEST_BYTES_PER_SECOND - waited_seconds)
        waited_seconds += clock() - started
        seen += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if seen > limit_bytes:
            raise _too_large(limit_bytes)
        return message

    return bounded


async def _in_time(receive: Receive, left_seconds: float) -> Message:
    try:
        async with asyncio.timeout(min(left_seconds, _BODY_PAUSE_SECONDS)):
            return await receive()
    except TimeoutError as error:
        bounds = f"pauses of at most {_BODY_PAUSE_SECONDS} s and at least {_SLOWEST_BYTES_PER_SECOND} bytes a second"
        raise RequestTimeout(f"The body did not come in time: {bounds}") from error


def _adding(send: Send, add: Callable[[_Headers, int], None]) -> Send:
    """Sends an answer with headers that no handler knows, added by somebody who is told its status."""

    async def added(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            add(headers, message["status"])
            message["headers"] = headers
        await send(message)

    return added


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"The body has more than {limit_bytes} bytes")


def _begin(scope: Scope) -> tuple[TraceContext, Span | None]:
    """Who the request is, and its span if it is to have one."""
    headers, tracer = Headers(scope=scope), active_tracer()
    wanted, traceparent = headers.get("x-request-id", ""), headers.get("traceparent")
    span = None
    if tracer is not None and scope["path"] not in QUIET_PATHS:
        span = tracer.root(scope["method"], SpanKind.SERVER, traceparent=traceparent)
        traceparent = span.traceparent
    return new_trace(traceparent=traceparent, request_id=wanted if _REQUEST_ID.fullmatch(wanted) else None), span


def _describe(span: Span, scope: Scope, status: int, trace: TraceContext) -> None:
    """By the route's template: an address may hold names that people chose."""
    route = route_template(scope)
    span.name = f"{scope['method']} {route}"
    span.attributes.update(
        {HTTP_METHOD: scope["method"], HTTP_ROUTE: route, HTTP_STATUS: status, REQUEST_ID: trace.request_id}
    )
    if (principal := scope["state"].get("principal")) is not None:
        span.attributes[TENANT] = principal.tenant
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not span.error:
        span.fail(str(status))


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    if scope["path"] in QUIET_PATHS:
        return
    fields = {"method": scope["method"], "path": scope["path"], "status": int(status)}
    principal = scope["state"].get("principal")
    if principal is not None:
        fields |= {"tenant": principal.tenant, "caller": principal.caller}
    asked = scope.get("path_params", {})
    fields |= {name: asked[name] for name in ("job_id", "document_id") if name in asked}
    logger.info("request", seconds=round(seconds, 4), **fields)
