"""What a look at a job costs: round trips to Redis, counted by a proxy in between, and looks per second.

The count is taken with one client that looks at one job, and the API's own work in that time, its sweeper, is taken off
it. Neither a key nor a limit is in force at first; then both are: a key that is in use is remembered for seconds, and
a request is counted in one round trip.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack

from benchmarks.support.counting import RoundTrips, counting_proxy
from benchmarks.support.load import Connection, Load, closed_loop, request_bytes, run, spread
from benchmarks.support.parts import Service, api, make_key, valkey_server
from benchmarks.support.report import Report, Run, main

_ROUNDS = 3
_SECONDS = 2.0
_POLLS = 500
_GUARDED = {"ENABLE_AUTH": "true", "RATE_LIMIT_GENERAL_PER_MINUTE": "1000000"}


class _Polling:
    """One job to look at."""

    def __init__(self, service: Service, key: str) -> None:
        self._port = service.port
        job = service.upload("benchmark", "first.pdf", b"%PDF-1.4 first", key=key)
        self._headers = {"X-API-Key": key} if key else {}
        self._path = f"/v1/jobs/{job}"
        self._tag = run(self._ask(self._request({})))

    def load(self, *, known: bool, clients: int, seconds: float) -> Load:
        """Looks one after another, by clients that know the answer already or do not."""
        request = self._request({"If-None-Match": self._tag} if known else {})
        load = run(closed_loop(self._port, lambda _: request, clients=clients, seconds=seconds))
        return load.only(304 if known else 200)

    def round_trips(self, trips: RoundTrips, polls: int) -> float:
        """For one look."""
        before, began = trips.count, time.monotonic()
        run(self._repeat(polls))
        busy, took = trips.count - before, time.monotonic() - began
        before = trips.count
        # As long as before, with nobody asking.
        time.sleep(took)
        return (busy - (trips.count - before)) / polls

    async def _ask(self, request: bytes) -> str:
        connection = await Connection.open(self._port)
        answer = await connection.ask(request)
        connection.close()
        assert answer.status == 200, answer
        return answer.header("etag")

    async def _repeat(self, polls: int) -> None:
        connection = await Connection.open(self._port)
        for _ in range(polls):
            await connection.ask(self._request({}))
        connection.close()

    def _request(self, headers: Mapping[str, str]) -> bytes:
        return request_bytes("GET", self._path, headers={**self._headers, **headers})


def poll(this: Run) -> Report:
    """Run it."""
    report = Report("key and limit", "round trips a look", "clients", "looks/s", "304s/s", "p50", "p99")
    for guarded in (False, True):
        with ExitStack() as exits:
            folder = this.folder / f"guarded-{guarded}"
            redis_url, _ = exits.enter_context(valkey_server(folder / "valkey"))
            trips = exits.enter_context(counting_proxy(redis_url))
            key = make_key(redis_url, "default") if guarded else ""
            counted = exits.enter_context(api(folder / "counted", trips.url, _GUARDED if guarded else None))
            direct = exits.enter_context(api(folder / "direct", redis_url, _GUARDED if guarded else None))
            polling = _Polling(counted, key)
            each = polling.round_trips(trips, 50 if this.quick else _POLLS)
            _tell(report, this, _Polling(direct, key), guarded=guarded, each=each)
            if not guarded:
                report.target("round trips to Redis for a look", each, at_most=1.05)
            else:
                report.note(f"Key and limit add {each - 1:.2f} round trips.")
    return report


def _tell(report: Report, this: Run, polling: _Polling, *, guarded: bool, each: float) -> None:
    for clients in (1, 32):
        full, known = [], []
        for _ in range(this.rounds(_ROUNDS)):
            full.append(polling.load(known=False, clients=clients, seconds=this.seconds(_SECONDS)))
            known.append(polling.load(known=True, clients=clients, seconds=this.seconds(_SECONDS)))
        rates = [spread([load.rate for load in loads], 0) for loads in (full, known)]
        tails = [spread([load.quantile_ms(share) for load in full], 1) + " ms" for share in (0.5, 0.99)]
        report.row("yes" if guarded else "no", f"{each:.2f}", clients, *rates, *tails)


if __name__ == "__main__":
    main(poll, title="what a look at a job costs")
