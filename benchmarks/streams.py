"""Many event streams open on one process of the API: its memory, and whether every stream gets its events in time.

Nobody works on the jobs; a writer adds an event to each stream in turn, as workers do, and notes when. The delay of an
event is the time from then until the client has read it, the wait for the disk included. Looks at a job, sent at a low
fixed rate, say how others fare meanwhile.
"""

import asyncio
import time
from contextlib import ExitStack
from threading import Event, Thread

import orjson

from benchmarks.support.load import Load, open_loop, request_bytes, run
from benchmarks.support.parts import Service, api, memory_bytes, valkey_server
from benchmarks.support.report import Report, Run, main
from benchmarks.support.streams import events
from ragline.stores.ledger.keys import events_key

_STREAMS = 500
_SECONDS = 15.0
_EVENTS_PER_SECOND = 500
_BATCH = 25
_LOOKS_PER_SECOND = 20
_MEGABYTE = 2**20


class _Writer:
    """Adds events to jobs in turn until told to stop."""

    def __init__(self, service: Service, jobs: list[str], per_second: int) -> None:
        self._redis = service.redis
        self._jobs = jobs
        self._pause = _BATCH / per_second
        self._stopped = Event()
        self._thread = Thread(target=self._write)
        self.written = 0

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End, and so do all streams."""
        self._stopped.set()
        self._thread.join()
        pipe = self._redis.pipeline(transaction=False)
        for job in self._jobs:
            pipe.xadd(events_key(job), {"type": "done", "data": '{"state": "succeeded"}'})
        pipe.execute()

    def _write(self) -> None:
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            pipe = self._redis.pipeline(transaction=False)
            for number in range(self.written, self.written + _BATCH):
                data = orjson.dumps({"text": "word ", "written_at": time.monotonic()})
                pipe.xadd(events_key(self._jobs[number % len(self._jobs)]), {"type": "token", "data": data})
            pipe.execute()
            self.written += _BATCH
            due += self._pause


class _Reading:
    """Reads all streams."""

    def __init__(self, service: Service, jobs: list[str]) -> None:
        self._service = service
        self._jobs = jobs
        self.delays: list[float] = []
        self.memory_bytes = 0

    async def look_around(self, seconds: float) -> Load:
        """Looks at one job at a fixed rate."""
        request = request_bytes("GET", f"/v1/jobs/{self._jobs[0]}")
        rate = _LOOKS_PER_SECOND
        return (await open_loop(self._service.port, lambda _: request, rate=rate, seconds=seconds)).only(200)

    async def read(self, seconds: float, per_second: int) -> tuple[Load, int]:
        """All streams to their end; how looks fared meanwhile, and how many events were written."""
        reading = asyncio.gather(*map(self._stream, self._jobs))
        # Until all are open.
        await asyncio.sleep(1 + len(self._jobs) / 250)
        writer = _Writer(self._service, self._jobs, per_second)
        writer.start()
        try:
            looks = await self.look_around(seconds)
            self.memory_bytes = memory_bytes(self._service.process)
        finally:
            await asyncio.to_thread(writer.stop)
        await reading
        return looks, writer.written

    async def _stream(self, job: str) -> None:
        request = request_bytes("GET", f"/v1/jobs/{job}/events", headers={"Connection": "close"})
        async for event in events(self._service.port, request):
            if event.type == "token":
                self.delays.append(event.at - orjson.loads(event.data)["written_at"])


def _jobs(service: Service, count: int) -> list[str]:
    service.upload("benchmark", "first.pdf", b"%PDF-1.4 first")
    headers = {"Prefer": "respond-async"}
    path = "/v1/collections/benchmark/queries"
    replies = [service.client.post(path, json={"question": f"{n}?"}, headers=headers) for n in range(count)]
    return [reply.json()["job_id"] for reply in replies]


def streams(this: Run) -> Report:
    """Run it."""
    count = 20 if this.quick else _STREAMS
    seconds = 1.0 if this.quick else _SECONDS
    report = Report("streams", "events/s", "memory, MB", "delay p50", "p99", "worst", "looks p50", "looks p95")
    with ExitStack() as exits:
        redis_url, _ = exits.enter_context(valkey_server(this.folder / "valkey"))
        plenty = {"MAX_STREAMS": "1000", "MAX_STREAMS_PER_TENANT": "1000"}
        service = exits.enter_context(api(this.folder, redis_url, plenty))
        jobs = _jobs(service, count)
        reading = _Reading(service, jobs)
        alone = run(reading.look_around(seconds))
        idle = memory_bytes(service.process) / _MEGABYTE
        report.row(0, 0, f"{idle:.0f}", "", "", "", *_looks(alone))
        looks, written = run(reading.read(seconds, _EVENTS_PER_SECOND))
    delays = sorted(reading.delays)
    assert len(delays) == written, (len(delays), written)
    shown = [f"{1000 * delays[int(share * (len(delays) - 1))]:.0f} ms" for share in (0.5, 0.99, 1)]
    memory = reading.memory_bytes / _MEGABYTE
    report.row(count, _EVENTS_PER_SECOND, f"{memory:.0f}", *shown, *_looks(looks))
    report.note("The memory is that of the API's two processes, pages that they share counted twice.")
    report.target(f"memory with {count} streams", memory, at_most=300, unit=" MB")
    report.target("worst delay of an event", 1000 * delays[-1], at_most=1000, unit=" ms")
    return report


def _looks(load: Load) -> list[str]:
    return [f"{load.quantile_ms(share):.1f} ms" for share in (0.5, 0.95)]


if __name__ == "__main__":
    main(streams, title="many event streams on one process of the API")
