"""What tracing costs the one who submits: questions accepted by an API that traces nothing, a tenth and everything.

All write to one Valkey, as in `submit`, and take turns. Behind the first two that trace is a collector that takes all
it is sent, in a process of its own on the same cores; behind the third one that hangs. The sturdier figure is the CPU
time of a request: it depends less on what else runs on the machine.

The latencies are of questions that are due at fixed times, at half the rate that the API without tracing manages.

What is compared is the best quarter of each side's rounds: what others do on the machine only ever makes a round worse,
and by more than what is looked for here. The table has the medians and ranges of all rounds too.
"""

import itertools
import statistics
from collections.abc import Callable
from contextlib import ExitStack

import redis

from benchmarks.support.load import Load, closed_loop, open_loop, request_bytes, run, spread
from benchmarks.support.parts import Service, api, app_server, cpu_seconds, valkey_server
from benchmarks.support.report import Report, Run, main

_CLIENTS = 32
_ROUNDS = 20
_SECONDS = 1.0
_PACED_ROUNDS = 16
_PACED_SECONDS = 1.5
_PACED_SHARE = 0.5

_OFF, _TENTH, _ALL, _HANGING = "off", "10 %", "100 %", "10 %, collector hangs"


class _Sides:
    """An API for each way to trace, on one Valkey."""

    def __init__(self, this: Run, exits: ExitStack) -> None:
        self._redis_url, _ = exits.enter_context(valkey_server(this.folder / "valkey"))
        with redis.Redis.from_url(self._redis_url) as client:
            client.config_set("appendfsync", "everysec")
        addresses = {}
        for kind in ("taking", "hanging"):
            app = f"benchmarks.support.collectors:create_{kind}"
            port, _ = exits.enter_context(app_server(app, this.folder / f"{kind}.log"))
            addresses[kind] = f"http://127.0.0.1:{port}"
        settings = {
            _OFF: {},
            _TENTH: _traced(addresses["taking"], 0.1),
            _ALL: _traced(addresses["taking"], 1),
            _HANGING: _traced(addresses["hanging"], 0.1),
        }
        self._numbers = itertools.count()
        self.services: dict[str, Service] = {
            side: exits.enter_context(api(this.folder / f"side{number}", self._redis_url, given))
            for number, (side, given) in enumerate(settings.items())
        }
        self.cpu_us: dict[str, list[float]] = {side: [] for side in self.services}

    def paced(self, side: str, rate: float, seconds: float) -> Load:
        """At a fixed rate."""
        self._empty()
        return run(open_loop(self.services[side].port, self._request, rate=rate, seconds=seconds)).only(202)

    def fast(self, side: str, seconds: float) -> Load:
        """As fast as it goes."""
        self._empty()
        service = self.services[side]
        before = cpu_seconds(service.process)
        load = run(closed_loop(service.port, self._request, clients=_CLIENTS, seconds=seconds)).only(202)
        self.cpu_us[side].append(1e6 * (cpu_seconds(service.process) - before) / len(load.latencies))
        return load

    def _empty(self) -> None:
        with redis.Redis.from_url(self._redis_url) as client:
            client.flushdb()
        self.services[_OFF].upload("benchmark", "first.pdf", b"%PDF-1.4 first")

    def _request(self, _: int) -> bytes:
        headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
        body = b'{"question": "How long is the notice period of contract %d?", "top_k": 3}' % next(self._numbers)
        return request_bytes("POST", "/v1/collections/benchmark/queries", headers=headers, body=body)


def _traced(url: str, ratio: float) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "TRACE_SAMPLE_RATIO": str(ratio)}


def _ratio(figures: dict[str, list[float]], side: str, *, best: Callable[[list[float]], float]) -> float:
    return best(figures[side]) / best(figures[_OFF])


def _high(figures: list[float]) -> float:
    return sorted(figures)[-1 - len(figures) // 4]


def _low(figures: list[float]) -> float:
    return sorted(figures)[len(figures) // 4]


def _turns(sides: _Sides, rounds: int) -> list[str]:
    """Each side in each round, the first of them in turn: what a round begins with finds another machine."""
    names = list(sides.services)
    return [names[(turn + place) % len(names)] for turn in range(rounds) for place in range(len(names))]


def tracing(this: Run) -> Report:
    """Run it."""
    report = Report("traced", "accepted/s", "rate / off", "CPU us", "CPU / off", "p50, ms", "p95, ms", "p95 / off")
    with ExitStack() as exits:
        sides = _Sides(this, exits)
        for side in sides.services:
            sides.fast(side, this.seconds(1))
        sides.cpu_us = {side: [] for side in sides.services}
        rates: dict[str, list[float]] = {side: [] for side in sides.services}
        for side in _turns(sides, this.rounds(_ROUNDS)):
            rates[side].append(sides.fast(side, this.seconds(_SECONDS)).rate)
        pace = statistics.median(rates[_OFF]) * _PACED_SHARE
        paced: dict[str, list[Load]] = {side: [] for side in sides.services}
        for side in _turns(sides, this.rounds(_PACED_ROUNDS)):
            paced[side].append(sides.paced(side, pace, this.seconds(_PACED_SECONDS)))
    _tell(report, rates, sides.cpu_us, paced)
    report.note(f"Latencies: of questions due at fixed times, {pace:.0f}/s.")
    return report


def _tell(
    report: Report, rates: dict[str, list[float]], cpu_us: dict[str, list[float]], paced: dict[str, list[Load]]
) -> None:
    middles, tails = (
        {side: [load.quantile_ms(share) for load in loads] for side, loads in paced.items()} for share in (0.5, 0.95)
    )
    for side in paced:
        report.row(
            side,
            spread(rates[side], 0),
            f"{_ratio(rates, side, best=_high):.2f}",
            spread(cpu_us[side], 0),
            f"{_ratio(cpu_us, side, best=_low):.2f}",
            spread(middles[side], 1),
            spread(tails[side], 1),
            f"{_ratio(tails, side, best=_low):.2f}",
        )
    report.target("rate kept when a tenth is traced", _ratio(rates, _TENTH, best=_high), at_least=0.85)
    cpu = _ratio(cpu_us, _TENTH, best=_low)
    report.target("CPU time of a request when a tenth is traced, times", cpu, at_most=1.15)
    report.target("p95 with a collector that hangs, times", _ratio(tails, _HANGING, best=_low), at_most=1.05)


if __name__ == "__main__":
    main(tracing, title="what tracing costs")
