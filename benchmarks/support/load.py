"""A load generator that costs little: raw HTTP/1.1 on one event loop, every answer read to its end.

The generator shares the cores with what it measures, so it does no more than it must; `against_nothing` in `submit.py`
says how fast it is by itself.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop
from typing_extensions import override

__all__ = ["Answer", "Connection", "Load", "closed_loop", "open_loop", "request_bytes", "run", "spread"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        """A header of the answer; empty when there is none."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name.lower().encode():
                return value.strip().decode()
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One round of load.

    Attributes
    ----------
    seconds
        How long it took.
    latencies
        Of every request, sorted, seconds; in an open loop from the moment when the request was due.
    statuses
        Answers by status.
    """

    seconds: float
    latencies: list[float]
    statuses: Counter[int]

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds

    def quantile_ms(self, share: float) -> float:
        """Latency that this share of the requests stayed within, milliseconds."""
        return 1000 * self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]

    def only(self, *wanted: int) -> "Load":
        """Itself, when every answer had one of these statuses.

        Raises
        ------
        AssertionError
            Another answer came: what was measured is not what was meant.
        """
        assert set(self.statuses) <= set(wanted), self.statuses
        return self


class Connection(asyncio.Protocol):
    """One connection, one request at a time; the answer needs a Content-Length, or none where HTTP has no body."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: asyncio.Future[Answer] | None = None
        self._transport: Any = None

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect to this machine."""
        _, protocol = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return protocol

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    async def ask(self, request: bytes) -> Answer:
        """Send a request and wait for its answer."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("closed before the answer"))

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._waiting is None:
            return
        status = int(self._buffer[9:12])
        begin = self._buffer.lower().find(b"content-length:", 0, end)
        length = 0 if begin < 0 or status == 304 else int(self._buffer[begin + 15 : self._buffer.find(b"\r", begin)])
        if len(self._buffer) < end + 4 + length:
            return
        head, body = bytes(self._buffer[:end]), bytes(self._buffer[end + 4 : end + 4 + length])
        self._buffer.clear()
        waiting, self._waiting = self._waiting, None
        waiting.set_result(Answer(status=status, head=head, body=body))


async def closed_loop(port: int, request: Callable[[int], bytes], *, clients: int, seconds: float) -> Load:
    """Clients that each send their next request when the last one is answered.

    Parameters
    ----------
    request
        The bytes of a request, by its number.
    """
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    numbers = iter(range(10**9))
    connections = [await Connection.open(port) for _ in range(clients)]
    began = time.perf_counter()

    async def client(connection: Connection) -> None:
        while (sent := time.perf_counter()) < began + seconds:
            answer = await connection.ask(request(next(numbers)))
            latencies.append(time.perf_counter() - sent)
            statuses[answer.status] += 1

    await asyncio.gather(*map(client, connections))
    took = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return Load(seconds=took, latencies=sorted(latencies), statuses=statuses)


async def open_loop(
    port: int, request: Callable[[int], bytes], *, rate: float, seconds: float, connections: int = 128
) -> Load:
    """Requests that are due at fixed times, however long the answers take.

    Parameters
    ----------
    rate
        Requests per second.
    connections
        When all are taken a request waits for one, and the wait counts.
    """
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    for _ in range(connections):
        free.put_nowait(await Connection.open(port))
    began = time.perf_counter()

    async def send(number: int) -> None:
        connection = await free.get()
        answer = await connection.ask(request(number))
        latencies.append(time.perf_counter() - began - number / rate)
        statuses[answer.status] += 1
        free.put_nowait(connection)

    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            group.create_task(send(number))
    took = time.perf_counter() - began
    while not free.empty():
        free.get_nowait().close()
    return Load(seconds=took, latencies=sorted(latencies), statuses=statuses)


def request_bytes(method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: benchmark",
        *(f"{key}: {value}" for key, value in (headers or {}).items()),
    ]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run on a fast event loop until done."""
    return uvloop.run(work)


def spread(values: list[float], digits: int = 2) -> str:
    """Median and range, as a table shows them."""
    ordered = sorted(values)
    return f"{ordered[len(ordered) // 2]:.{digits}f} ({ordered[0]:.{digits}f}-{ordered[-1]:.{digits}f})"
