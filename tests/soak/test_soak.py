"""Random work under random faults for minutes: nothing accepted is lost, stranded, half there or there twice."""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from ragline.common.metrics import JOBS_ACCEPTED, JOBS_ENDED, QUEUE_HELD, QUEUE_IN_FLIGHT, QUEUE_WAITING
from ragline.common.queues import Queue
from ragline.stores.document_files import DocumentFiles
from ragline.stores.ledger.keys import unacked_key
from ragline.stores.objects import ObjectStore
from tests.soak.callers import Accepted, Caller, Document
from tests.soak.faults import Faults
from tests.support.openai_stub import openai_stub
from tests.support.scraping import scrape
from tests.support.stack import Stack, running_stack
from tests.support.waiting import wait_until

SECONDS = int(os.environ.get("SOAK_SECONDS", "300"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
_SETTLED_SECONDS = 300
"""Retries' delays, leases, all that waits behind them, and kombu's visibility timeout: as long are messages in flight
whose worker was killed."""

_CODES = {
    "ingest": {"cancelled", "superseded", "quarantined"},
    "query": {"attempts_exhausted", "not_found", "quarantined"},
    "delete": set(),
    "drop": set(),
}
"""How a job of a kind may end that did not succeed: its caller or the faults wanted it so. No outage here lasts as long
as an upload is tried: one that is exhausted had a defect."""

_INDEXES = ("queued:*", "held*", "delayed*", "leases", "littered", "collection:*:pending", "doc:*:writer")
"""Keys of the ledger that name work: none of them is left when there is none."""

_CHROMA_COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 3 * _SETTLED_SECONDS)]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A service whose embeddings cost next to nothing, so that most of the work is writing and removing."""
    with openai_stub() as stub:
        settings = {"EMBEDDER": "openai", "OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": stub.url}
        with running_stack(tmp_path, settings) as running:
            yield running


def test_nothing_is_lost_or_left_behind(stack: Stack) -> None:
    dice = random.Random(SEED)  # noqa: S311 - test data, not a secret; a seed repeats the dice, not the timing
    caller = Caller(stack.client, dice)
    _work(caller, dice, faults=_all_faults(stack))
    wait_until(stack.ready, timeout_seconds=60)
    accepted = [accepted for document in caller.documents.values() for accepted in document.accepted]
    jobs = _ended(stack, [*{one.job_id for one in accepted}, *caller.other_jobs])
    print(Counter((job["kind"], job["status"]) for job in jobs.values()))  # noqa: T201 - what was tried
    wait_until(lambda: _idle(stack), timeout_seconds=_SETTLED_SECONDS, interval_seconds=1)

    failed = [job for job in jobs.values() if job["error"] and job["error"]["code"] not in _CODES[job["kind"]]]
    assert not failed, failed
    lines = [line for log in stack.folder.glob("*.log") for line in log.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if "by a defect" in line] == []
    for name, document in caller.documents.items():
        _check_document(stack, name, document, jobs)
    _check_stores(stack)


def _all_faults(stack: Stack) -> list[Faults]:
    """Of workers and of what they all need, at the same time."""
    workers = {str(queue): worker for queue, worker in stack.workers.items()}
    others = {"api": stack.api, "chroma": stack.chroma, "valkey": stack.valkey}
    return [Faults(parts, random.Random(f"{SEED} {[*parts]}")) for parts in (workers, others)]  # noqa: S311


def _work(caller: Caller, dice: random.Random, *, faults: Sequence[Faults]) -> None:
    until = time.monotonic() + SECONDS
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(each.run) for each in faults]
        try:
            while time.monotonic() < until and not any(each.done() for each in running):
                caller.act()
                time.sleep(dice.uniform(0, 0.5))
        finally:
            for each in faults:
                each.stop()
            wait(running)
            # A failure is understood by them.
            print("", *sorted(done for each in faults for done in each.done), sep="\n")  # noqa: T201
    for ended in running:
        ended.result()


def _ended(stack: Stack, job_ids: list[str]) -> dict[str, dict[str, Any]]:
    until = time.monotonic() + _SETTLED_SECONDS
    return {job_id: stack.finished_job(job_id, timeout_seconds=max(1, until - time.monotonic())) for job_id in job_ids}


def _idle(stack: Stack) -> bool:
    """Whether nothing waits, runs, is held, or has yet to be cleaned, as the service and Redis itself see it."""
    told = scrape(stack.client)
    busy = [told.total(metric) for metric in (QUEUE_WAITING, QUEUE_HELD, QUEUE_IN_FLIGHT)]
    with redis.Redis.from_url(stack.redis_url) as client:
        left = [key for index in _INDEXES for key in client.scan_iter(f"ragline:{index}")]
        messages = client.exists(*Queue, *map(unacked_key, Queue))
    return not any([*busy, *left, messages]) and told.total(JOBS_ACCEPTED) == told.total(JOBS_ENDED)


def _check_document(stack: Stack, name: tuple[str, str], document: Document, jobs: dict[str, dict[str, Any]]) -> None:
    visible: Accepted | None = None
    for accepted in document.accepted:
        if jobs[accepted.job_id]["status"] == "succeeded":
            visible = accepted if accepted.marker else None
    if not document.accepted:
        return
    history = [(one.marker, jobs[one.job_id]["status"]) for one in document.accepted]
    latest = document.accepted[-1].document_id
    reply = stack.client.get(f"/v1/documents/{latest}")
    if visible is None:
        assert reply.status_code == 404 or reply.json()["version"] == 0, (name, history, reply.text)
        return
    record = reply.json()
    assert (record["id"], record["state"] in {"indexed", "failed"}) == (visible.document_id, True), (name, history)
    pages = [*DocumentFiles(_objects(stack)).pages(record["id"], record["version"])]
    assert len(pages) == record["pages"], (name, history)
    assert all(page.text.startswith(visible.marker) for page in pages), (name, history)


def _check_stores(stack: Stack) -> None:
    """Chroma holds the chunks that count, and the object store pages of the versions that do or may be tried again."""
    kept: set[str] = set()
    chunks = 0
    for collection in stack.client.get("/v1/collections").json()["collections"]:
        report = stack.verify(collection["name"])
        assert report["consistent"], report
        chunks += report["chunks"]
        for document in stack.client.get(collection["links"]["documents"]).json()["documents"]:
            versions = {document["version"]} | (
                {document["accepted_version"]} if document["state"] == "failed" else set()
            )
            kept |= {f"documents/{document['id']}/{version}" for version in versions}
    stored = {key.rpartition("/")[0].removesuffix("/pages") for key in _objects(stack).keys("documents/")}
    assert stored, "nothing was left to compare"
    assert stored <= kept, stored - kept
    with httpx2.Client(base_url=stack.chroma_url) as chroma:
        found = [f"{_CHROMA_COLLECTIONS}/{collection['id']}" for collection in chroma.get(_CHROMA_COLLECTIONS).json()]
        assert sum(chroma.get(f"{address}/count").json() for address in found) == chunks


def _objects(stack: Stack) -> ObjectStore:
    return ObjectStore(stack.environment["OBJECT_STORE_URL"])
