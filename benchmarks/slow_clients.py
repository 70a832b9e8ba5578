"""How requests fare beside 200 connections that send their heads, or their bodies, a byte at a time.

Half of the slow ones trickle a head, until the API has had enough of it (10 s) and they come back; half of them
trickle the body of an upload. Rounds with them and without take turns; normal requests are questions and looks at a
job, at a fixed rate.
"""

import asyncio
import statistics
from contextlib import suppress

from benchmarks.support.load import Load, open_loop, request_bytes, run, spread
from benchmarks.support.parts import Service, api, valkey_server
from benchmarks.support.report import Report, Run, main

_SLOW = 200
_ROUNDS = 5
_SECONDS = 5.0
_REQUESTS_PER_SECOND = 100
_BYTE_EVERY_SECONDS = 0.5
_HEAD = b"GET /v1/collections HTTP/1.1\r\nHost: benchmark\r\n"
_UPLOAD = b"POST /v1/collections/benchmark/documents?name=slow.pdf HTTP/1.1\r\nHost: benchmark\r\n"
_UPLOAD_REST = b"Content-Type: application/pdf\r\nContent-Length: 100000\r\n\r\n%PDF-1.4 "


class _Crowd:
    """Slow clients, which come back when they are sent away."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._count = count
        self._connected: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def arrive(self) -> None:
        """Return when all are connected."""
        self._tasks = [asyncio.create_task(self._trickle(number)) for number in range(self._count)]
        async with asyncio.timeout(30):
            while len(self._connected) < self._count:  # noqa: ASYNC110 - a crowd has no event of its own
                await asyncio.sleep(0.05)

    async def leave(self) -> None:
        """Return when all have gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _trickle(self, number: int) -> None:
        start, rest = (_HEAD, b"") if number % 2 else (_UPLOAD, _UPLOAD_REST)
        while True:
            with suppress(ConnectionError):
                await self._one_connection(number, start + rest, b"x-slow: " if number % 2 else b"")

    async def _one_connection(self, number: int, start: bytes, more: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(start + more)
            self._connected.add(number)
            while not reader.at_eof():
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(_BYTE_EVERY_SECONDS)
        finally:
            writer.close()


class _Normal:
    """What everybody else does."""

    def __init__(self, service: Service) -> None:
        self._port = service.port
        self._job = service.upload("benchmark", "first.pdf", b"%PDF-1.4 first")
        self._number = 0

    async def round(self, seconds: float) -> Load:
        """Requests at a fixed rate."""
        rate = _REQUESTS_PER_SECOND
        return (await open_loop(self._port, self._request, rate=rate, seconds=seconds, connections=32)).only(200, 202)

    def _request(self, number: int) -> bytes:
        if number % 2:
            return request_bytes("GET", f"/v1/jobs/{self._job}")
        self._number += 1
        headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
        body = b'{"question": "How long is contract %d?"}' % self._number
        return request_bytes("POST", "/v1/collections/benchmark/queries", headers=headers, body=body)


async def _beside(port: int, normal: _Normal, slow: int, seconds: float) -> Load:
    crowd = _Crowd(port, slow)
    await crowd.arrive()
    try:
        return await normal.round(seconds)
    finally:
        await crowd.leave()


def slow_clients(this: Run) -> Report:
    """Run it."""
    slow = 20 if this.quick else _SLOW
    report = Report("slow connections", "p50, ms", "p95, ms")
    alone, beside = [], []
    with valkey_server(this.folder / "valkey") as (redis_url, _), api(this.folder, redis_url) as service:
        normal = _Normal(service)
        run(normal.round(this.seconds(2)))
        for _ in range(this.rounds(_ROUNDS)):
            alone.append(run(normal.round(this.seconds(_SECONDS))))
            beside.append(run(_beside(service.port, normal, slow, this.seconds(_SECONDS))))
    for count, loads in ((0, alone), (slow, beside)):
        report.row(count, *(spread([load.quantile_ms(share) for load in loads], 1) for share in (0.5, 0.95)))
    ratios = [b.quantile_ms(0.95) / a.quantile_ms(0.95) for a, b in zip(alone, beside, strict=True)]
    report.note(f"{_REQUESTS_PER_SECOND} normal requests a second. Ratio of neighbouring rounds: {spread(ratios)}.")
    report.target("p95 beside slow connections, times that without", statistics.median(ratios), at_most=2)
    return report


if __name__ == "__main__":
    main(slow_clients, title="normal requests beside slow connections")
