"""How long one document of a tenant waits behind a thousand of another's, with fair shares and without.

Tenant A uploads all of its documents, then tenant B one, to the same workers. The same is done once more with the
tenant's share switched off, so that tasks are taken in the order in which they came: a document has three of them, and
B's is behind all of A's first ones.
"""

import statistics
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.load import spread
from benchmarks.support.parts import Service, make_key, service
from benchmarks.support.report import Report, Run, main
from ragline.stores.ledger.keys import job_key
from tests.support.pdfs import text_pdf
from tests.support.waiting import wait_until

_DOCUMENTS = 1000
_UPLOADERS = 8
_PATIENCE_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waits:
    """Seconds from the moment when a document was accepted."""

    started: list[float]
    searchable: list[float]


def _documents(count: int) -> list[bytes]:
    return [
        text_pdf([f"Contract {number} ends after {number} months unless it is renewed."]) for number in range(count)
    ]


def _waits(running: Service, jobs: Iterable[str]) -> _Waits:
    fields = ("created_at", "started_at", "finished_at")
    with running.redis as client:
        rows = [[int(value) for value in client.hmget(job_key(job), fields)] for job in jobs]
    return _Waits(
        started=[(started - created) / 1000 for created, started, _ in rows],
        searchable=[(finished - created) / 1000 for created, _, finished in rows],
    )


def _rivals(folder: Path, documents: list[bytes], launcher: str) -> tuple[_Waits, _Waits]:
    settings = {"ENABLE_AUTH": "true"}
    with service(folder, settings, launcher=launcher) as running, ThreadPoolExecutor(_UPLOADERS) as uploaders:
        many, one = (make_key(running.redis_url, tenant) for tenant in ("many", "one"))
        warm = running.upload("benchmark", "warm.pdf", text_pdf(["A first one loads all models."]), key=one)
        _all_ended(running, [warm])

        def upload(number: int) -> str:
            return running.upload("benchmark", f"{number}.pdf", documents[number], key=many)

        jobs = list(uploaders.map(upload, range(len(documents))))
        single = running.upload("benchmark", "only.pdf", text_pdf(["The only contract of this tenant."]), key=one)
        _all_ended(running, [*jobs, single])
        return _waits(running, jobs), _waits(running, [single])


def _all_ended(running: Service, jobs: list[str]) -> None:
    with running.redis as client:
        open_jobs = set(jobs)

        def ended() -> bool:
            states = {job: client.hget(job_key(job), "state") for job in open_jobs}
            assert "failed" not in states.values()
            open_jobs.difference_update(job for job, state in states.items() if state == "succeeded")
            return not open_jobs

        wait_until(ended, timeout_seconds=_PATIENCE_SECONDS, interval_seconds=1 if len(jobs) > 1 else 0.05)


def fairness(this: Run) -> Report:
    """Run it."""
    documents = _documents(10 if this.quick else _DOCUMENTS)
    report = Report("order", "tenant", "documents", "until its first step, s", "until it is searchable, s")
    single = {}
    for order, launcher in (("fair shares", ""), ("first come", "benchmarks.support.first_come")):
        many, one = _rivals(this.folder / order.replace(" ", "-"), documents, launcher)
        for tenant, waits in (("A", many), ("B", one)):
            cells = spread(waits.started, 1), spread(waits.searchable, 1)
            report.row(order, tenant, len(waits.started), *cells)
        single[order] = statistics.median(one.searchable)
    share = single["fair shares"] / single["first come"]
    report.target("B's wait with fair shares, as a share of that without", share, at_most=0.1)
    return report


if __name__ == "__main__":
    main(fairness, title="one document of a tenant beside a thousand of another's")
