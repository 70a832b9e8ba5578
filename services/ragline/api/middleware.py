"""Around every request: who it is, how large it may be, one log line, and a problem when all else fails."""

import asyncio
import re
import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ragline.api.problems import problem_response
from ragline.common.errors import InternalError, RequestTimeout, TooLarge
from ragline.common.telemetry import TraceContext, new_trace

__all__ = ["BodyLimitMiddleware", "RequestContextMiddleware"]

logger = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET_PATHS = {"/healthz", "/readyz"}
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


class RequestContextMiddleware:
    """Gives every request its id and trace, logs it, and turns an unexpected exception into a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = _trace(Headers(scope=scope))
        scope.setdefault("state", {})["trace"] = trace
        started, status = time.monotonic(), 0

        async def send_with_ids(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = trace.request_id
                headers["traceparent"] = trace.traceparent
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=trace.request_id, trace_id=trace.trace_id):
            try:
                await self._app(scope, receive, send_with_ids)
            except ClientDisconnect:
                logger.info("client left before its request was read", method=scope["method"], path=scope["path"])
            except Exception:
                logger.exception("request failed by a defect", method=scope["method"], path=scope["path"])
                if status:
                    raise
                failure = problem_response(InternalError("defect"), trace.request_id)
                await failure(scope, receive, send_with_ids)
            _log_request(scope, status, time.monotonic() - started)


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
            reply = problem_response(_too_large(limit), scope["state"]["trace"].request_id)
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
        started = time.monotonic()
        message = await _in_time(receive, _BODY_PAUSE_SECONDS + seen / _SLOWEST_BYTES_PER_SECOND - waited_seconds)
        waited_seconds += time.monotonic() - started
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


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"The body has more than {limit_bytes} bytes")


def _trace(headers: Headers) -> TraceContext:
    wanted = headers.get("x-request-id", "")
    return new_trace(
        traceparent=headers.get("traceparent"), request_id=wanted if _REQUEST_ID.fullmatch(wanted) else None
    )


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    if scope["path"] not in _QUIET_PATHS:
        logger.info(
            "request", method=scope["method"], path=scope["path"], status=status, milliseconds=round(seconds * 1000, 1)
        )
