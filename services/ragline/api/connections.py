"""Bounds of one connection that uvicorn does not set: how long and how large the head of a request may be."""

import asyncio
from typing import Any, ClassVar

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ragline.api.problems import PROBLEM_MEDIA_TYPE, problem
from ragline.common.errors import InvalidRequest, RagError, RequestTimeout
from ragline.common.trace_context import new_trace

__all__ = ["BoundedProtocol"]

_MAX_HEAD_BYTES = 2**16
"""Request line and headers: proxies send on 8 to 64 KB at most."""


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with a patience for clients that do not go on.

    uvicorn times only connections that are idle after an answer. One that sends nothing at all, or its headers byte by
    byte, or goes on with a body nobody waits for any more, it would keep for ever.
    """

    head_seconds: ClassVar[float] = 10
    """For the head of a request. A slow phone needs two or three."""

    linger_seconds: ClassVar[float] = 30
    """For the rest of a body after its answer: a client that reads only once it has sent all still gets the answer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own affair
        super().__init__(*args, **kwargs)
        self._due: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_body = False
        self._refused = False

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        self._expect_head()

    @override
    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if not self._in_body:
            self._head_bytes += len(data)
            # Even if it is but an empty line: uvicorn has just stopped its own timer.
            self._expect_head()
        super().data_received(data)
        if not self._in_body and self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse(431, InvalidRequest(f"The head of a request has at most {_MAX_HEAD_BYTES} bytes"))

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        # RFC 9110, section 6.5.1: a trailer is no header. A proxy that checks headers has not checked it.
        if not self._in_body:
            super().on_header(name, value)

    @override
    def on_headers_complete(self) -> None:
        self._check_head()
        self._expect_nothing()
        self._in_body, self._head_bytes = True, 0
        super().on_headers_complete()
        if self.parser.should_upgrade():
            # We speak nothing else, and the parser has dropped what came with it for another protocol.
            self.cycle.keep_alive = False

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        # It may begin in the middle of what was received.
        self._head_bytes = max(self._head_bytes, 1)
        self._expect_head()

    @override
    def on_message_complete(self) -> None:
        self._expect_nothing()
        self._in_body = False
        super().on_message_complete()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body:
            self._expect(self.linger_seconds)

    @override
    def send_400_response(self, msg: str) -> None:
        self._refuse(400, InvalidRequest(msg))

    @property
    def _answering(self) -> bool:
        # There is none before the first request, whatever uvicorn declares.
        return bool(self.cycle) and not self.cycle.response_complete

    def _check_head(self) -> None:
        """What the parser does not look at; an exception makes it refuse the request."""
        hosts = sum(name == b"host" for name, _ in self.headers)
        match self.parser.get_http_version():
            case "1.0":
                pass
            case "1.1" if hosts == 1:
                # RFC 9112, section 3.2: anything else could be routed by one host and read as another.
                pass
            case _:
                raise InvalidRequest("HTTP/1.1 with one Host header")

    def _expect(self, seconds: float) -> None:
        if self._due is None and not self.transport.is_closing():
            self._due = self.loop.call_later(seconds, self._give_up)

    def _expect_head(self) -> None:
        self._expect(self.head_seconds)

    def _expect_nothing(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _give_up(self) -> None:
        self._due = None
        if self._answering:
            # It is we who do not read on: another request has come before this one is answered.
            self._expect_head()
        elif self._head_bytes:
            self._refuse(408, RequestTimeout(f"The head of a request must come within {self.head_seconds:g} s"))
        else:
            self.transport.close()

    def _refuse(self, status: int, error: RagError) -> None:
        """Answer what never reached the app, or not as a whole, and close."""
        if self.transport.is_closing():
            return
        self._refused = True
        if self._answering and not self._in_body:
            # The requests before this one are whole: they get their answers, and nothing comes between these.
            self.cycle.keep_alive = False
            return
        if not self._answering or not (self.cycle.response_started or self.pipeline):
            self.transport.write(_answer(status, error))
        self.transport.close()


def _answer(status: int, error: RagError) -> bytes:
    trace = new_trace()
    body = problem(error, *trace.ids).model_copy(update={"status": status}).model_dump_json().encode()
    headers = {
        "content-type": PROBLEM_MEDIA_TYPE,
        "content-length": len(body),
        "connection": "close",
        "x-request-id": trace.request_id,
        "traceparent": trace.traceparent,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[status] + head.encode() + b"\r\n" + body
