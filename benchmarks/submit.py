"""How fast work is accepted: POSTs of questions and of small documents, against a `def` route with `apply_async`.

All write to one Valkey that syncs its append-only file before it answers (`appendfsync always`), and nobody works on
what is accepted. With one client each side waits for the disk once for each request, which no code of ours shortens:
the same is measured on a Valkey that syncs once a second.

The floor is what stands in the way of any such server: Starlette reads the request, and redis-py pushes it on a list.

The CPU column is what the server's process used for a request, ours bare, ours with keys and limits, the peer, and the
floor: it depends less than a rate on what else runs on the machine.

The key check and the limits are those of `ragline keys`: 128 keys in turn, each with a limit it does not reach.
"""

import statistics
from contextlib import ExitStack
from urllib.parse import urlsplit

import redis

from benchmarks.support.load import Load, closed_loop, open_loop, request_bytes, run, spread
from benchmarks.support.parts import api, app_server, cpu_seconds, make_key, valkey_server
from benchmarks.support.report import Report, Run, main
from tests.support.forms import FORM_TYPE, form, form_part

_CLIENTS = (1, 32, 128)
_KEYS = 128
_LIMIT = 100_000
_ROUNDS = 3
_SECONDS = 1.0
_OPEN_SHARE = 0.6
_DOCUMENT_BYTES = 2000


class _Submitting:
    """All sides on one Valkey."""

    def __init__(self, this: Run, redis_url: str, exits: ExitStack) -> None:
        self.redis_url = redis_url
        self._keys: list[str] = []
        folder = this.folder / urlsplit(redis_url).netloc
        bare = exits.enter_context(api(folder / "bare", redis_url))
        guarded = exits.enter_context(api(folder / "guarded", redis_url, {"ENABLE_AUTH": "true"}))
        env = {"REDIS_URL": redis_url, "UPLOAD_ROOT": str(folder / "bare" / "uploads")}
        port, peer = exits.enter_context(app_server("benchmarks.support.peer:create_peer", folder / "peer.log", env))
        floor_port, floor = exits.enter_context(
            app_server("benchmarks.support.peer:create_floor", folder / "floor.log", env)
        )
        self._bare = bare
        self.ports = {"ours": bare.port, "guarded": guarded.port, "peer": port, "floor": floor_port}
        self._processes = {"ours": bare.process, "guarded": guarded.process, "peer": peer, "floor": floor}
        self.cpu_us: dict[str, list[float]] = {}

    def prepare(self, side: str) -> None:
        """Begin a round with an empty Valkey."""
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushdb()
        keys = range(_KEYS if side == "guarded" else 0)
        limits = {"general_per_minute": _LIMIT, "rag_per_minute": _LIMIT}
        self._keys = [make_key(self.redis_url, "default", **limits) for _ in keys]
        self._bare.upload("benchmark", "first.pdf", b"%PDF-1.4 first")

    def request(self, side: str, kind: str, number: int) -> bytes:
        """A request that nobody has sent before."""
        headers = {"X-API-Key": self._keys[number % _KEYS]} if side == "guarded" else {}
        if kind == "question":
            path = "/questions" if side == "peer" else "/v1/collections/benchmark/queries"
            wanted = {**headers, "Content-Type": "application/json", "Prefer": "respond-async"}
            body = b'{"question": "How long is the notice period of contract %d?", "top_k": 3}' % number
            return request_bytes("POST", path, headers=wanted, body=body)
        path = "/documents" if side == "peer" else "/v1/collections/benchmark/documents"
        data = b"%%PDF-1.4 number %d\n" % number + b"x" * _DOCUMENT_BYTES
        body = form([form_part("file", data, file_name=f"{number}.pdf")])
        return request_bytes("POST", path, headers={**headers, "Content-Type": FORM_TYPE}, body=body)

    def round(self, side: str, kind: str, clients: int, seconds: float) -> Load:
        """As fast as it goes."""
        self.prepare(side)
        before = cpu_seconds(self._processes[side])
        load = run(
            closed_loop(
                self.ports[side], lambda number: self.request(side, kind, number), clients=clients, seconds=seconds
            )
        )
        used = cpu_seconds(self._processes[side]) - before
        self.cpu_us.setdefault(side, []).append(1e6 * used / len(load.latencies))
        return load.only(202)

    def paced_round(self, side: str, kind: str, rate: float, seconds: float) -> Load:
        """At a fixed rate."""
        self.prepare(side)
        load = open_loop(self.ports[side], lambda number: self.request(side, kind, number), rate=rate, seconds=seconds)
        return run(load).only(202)


def _measure(parts: _Submitting, kind: str, clients: int, this: Run) -> dict[str, list[Load]]:
    loads: dict[str, list[Load]] = {side: [] for side in parts.ports}
    for side in parts.ports:
        parts.round(side, kind, clients, this.seconds(0.5))
    parts.cpu_us.clear()
    for _ in range(this.rounds(_ROUNDS)):
        for side, taken in loads.items():
            taken.append(parts.round(side, kind, clients, this.seconds(_SECONDS)))
    return loads


def _ratios(loads: dict[str, list[Load]], above: str, below: str) -> list[float]:
    return [a.rate / b.rate for a, b in zip(loads[above], loads[below], strict=True)]


def _tell(
    report: Report, where: tuple[str, str, int], loads: dict[str, list[Load]], cpu_us: dict[str, list[float]]
) -> None:
    sync, kind, clients = where
    over_peer, kept = _ratios(loads, "ours", "peer"), _ratios(loads, "guarded", "ours")
    tails = [load.quantile_ms(0.99) / load.quantile_ms(0.5) for load in loads["ours"]]
    rates = [statistics.median(load.rate for load in taken) for taken in loads.values()]
    middle = statistics.median(load.quantile_ms(0.5) for load in loads["ours"])
    cells = [f"{rate:.0f}" for rate in rates]
    cpu = ", ".join(f"{statistics.median(cpu_us[side]):.0f}" for side in loads)
    latency = f"{middle:.1f} ms", spread(tails, 1)
    report.row(sync, kind, clients, *cells, spread(over_peer), spread(kept), *latency, cpu)
    what = f"{kind}s, {clients} clients, sync {sync}"
    report.target(f"{what}: times the peer", statistics.median(over_peer), at_least=4)
    report.target(f"{what}: rate kept with keys and limits", statistics.median(kept), at_least=0.6)
    report.target(f"{what}: p99 / p50", statistics.median(tails), at_most=5)


def _open(report: Report, parts: _Submitting, this: Run) -> None:
    rate = parts.round("ours", "question", 32, this.seconds(1)).rate * _OPEN_SHARE
    loads = [parts.paced_round("ours", "question", rate, this.seconds(_SECONDS)) for _ in range(this.rounds(_ROUNDS))]
    tails = [load.quantile_ms(0.99) / load.quantile_ms(0.5) for load in loads]
    middle = spread([load.quantile_ms(0.5) for load in loads], 1)
    report.note(f"Questions due at fixed times, {rate:.0f}/s: p50 {middle} ms, p99 / p50 {spread(tails, 1)}.")
    report.target("questions due at fixed times: p99 / p50", statistics.median(tails), at_most=5)


def _against_nothing(report: Report, this: Run) -> None:
    with app_server("benchmarks.support.peer:create_nothing", this.folder / "nothing.log") as (port, _):
        load = run(closed_loop(port, lambda _: request_bytes("POST", "/"), clients=32, seconds=this.seconds(2)))
    report.note(f"The generator with 32 clients against a server that does nothing: {load.rate:.0f}/s.")


def submit(this: Run) -> Report:
    """Run it."""
    columns = ("sync", "kind", "clients", "ours/s", "with keys and limits/s", "peer/s", "floor/s")
    report = Report(*columns, "ours / peer", "with / without keys", "p50", "p99 / p50", "CPU us")
    _against_nothing(report, this)
    for sync in ("always",) if this.quick else ("always", "everysec"):
        with ExitStack() as exits:
            redis_url, _ = exits.enter_context(valkey_server(this.folder / sync))
            with redis.Redis.from_url(redis_url) as client:
                client.config_set("appendfsync", sync)
            parts = _Submitting(this, redis_url, exits)
            for kind in ("question", "document"):
                for clients in _CLIENTS[:2] if this.quick else _CLIENTS:
                    loads = _measure(parts, kind, clients, this)
                    _tell(report, (sync, kind, clients), loads, parts.cpu_us)
            if sync == "always":
                _open(report, parts, this)
    return report


if __name__ == "__main__":
    main(submit, title="how fast work is accepted")
