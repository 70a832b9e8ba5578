"""Replies of a Ragline service without the service."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx2
from typing_extensions import override

__all__ = ["FakeApi", "Reply", "broken_events", "events", "problem", "reply"]

Reply = Callable[[], httpx2.Response] | httpx2.Response | Exception
"""Made anew each time it is called, or good for once, or raised."""


_HEADERS = {"Content-Type": "text/event-stream", "Location": "/v1/jobs/job_1"}


class FakeApi:
    """Answers from a table of ``"METHOD /path"``; an exception is raised; the last of a list is repeated.

    Attributes
    ----------
    requests
        What it was asked, in order.
    pauses
        Seconds its client waited, in order.
    """

    url = "http://ragline.test"

    def __init__(self, replies: Mapping[str, Sequence[Reply]]) -> None:
        self._replies = {address: list(sequence) for address, sequence in replies.items()}
        self.requests: list[httpx2.Request] = []
        self.pauses: list[float] = []
        self.transport = httpx2.MockTransport(self._answer)

    async def pause_async(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def sent(self, header: str) -> list[str | None]:
        return [request.headers.get(header) for request in self.requests]

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.requests.append(request)
        replies = self._replies[f"{request.method} {request.url.raw_path.decode().partition('?')[0]}"]
        answer = replies.pop(0) if len(replies) > 1 else replies[0]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer


class _Breaking(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    def __init__(self, content: bytes, error: Exception) -> None:
        self._content = content
        self._error = error

    @override
    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise self._error

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


def broken_events(*frames: tuple[str, Any], first: int = 1, error: Exception | None = None) -> Reply:
    """A stream of events whose connection breaks after them."""
    breaking = _Breaking(_frames(frames, first), error or httpx2.ReadError("reset"))
    return lambda: httpx2.Response(200, headers=_HEADERS, stream=breaking)


def events(*frames: tuple[str, Any], first: int = 1) -> Reply:
    """A stream of events, as (type, data), with a heartbeat in front."""
    return lambda: httpx2.Response(200, headers=_HEADERS, content=b": waiting\n\n" + _frames(frames, first))


def problem(status: int, code: str = "some_code", *, retry_after: str | None = None, **members: object) -> Reply:
    """A problem as the service reports one."""
    body = {
        "title": "Title",
        "code": code,
        "detail": "Detail",
        "status": status,
        "request_id": "req_1",
        "trace_id": "0af765",
        **members,
    }
    headers = {"Content-Type": "application/problem+json"}
    if retry_after is not None:
        headers["Retry-After"] = retry_after
    return lambda: httpx2.Response(status, headers=headers, content=json.dumps(body))


def reply(body: object, status: int = 200) -> Reply:
    """A reply of JSON."""
    return lambda: httpx2.Response(status, json=body)


def _frames(frames: Sequence[tuple[str, Any]], first: int) -> bytes:
    lines = [
        f"id: {number}-0\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
        for number, (kind, data) in enumerate(frames, first)
    ]
    return "".join(lines).encode()
