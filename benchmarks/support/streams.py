"""Event streams as a client reads them, with the moment when each event came."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson

__all__ = ["StreamedEvent", "chat_tokens", "events", "first"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedEvent:
    """One event; `at` is of the monotonic clock, seconds."""

    type: str
    data: bytes
    at: float


async def chat_tokens(port: int, request: bytes) -> AsyncIterator[StreamedEvent]:
    """Events of a chat completion that hold text, as of type ``token``."""
    async for event in events(port, request):
        if event.data.startswith(b"{"):
            choices = orjson.loads(event.data)["choices"]
            if choices and choices[0]["delta"].get("content"):
                yield StreamedEvent(type="token", data=event.data, at=event.at)


async def events(port: int, request: bytes) -> AsyncIterator[StreamedEvent]:
    """The events of an answer until its end.

    Raises
    ------
    AssertionError
        The answer is no stream of events.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        assert b"text/event-stream" in head, head
        kind, data = "", b""
        while line := await reader.readline():
            name, _, value = line.strip().partition(b": ")
            if name == b"event":
                kind = value.decode()
            elif name == b"data":
                data = value
            elif not line.strip() and data:
                yield StreamedEvent(type=kind, data=data, at=time.monotonic())
                kind, data = "", b""
    finally:
        writer.close()


async def first(stream: AsyncIterator[StreamedEvent], *, kind: str = "token") -> float:
    """When the first event of a type came; the stream is read to its end.

    Raises
    ------
    AssertionError
        There was none.
    """
    came = [event.at async for event in stream if event.type == kind]
    assert came, f"no {kind}"
    return came[0]
