"""A bit of everything that can happen to a running service, and what it must have counted then."""

import os
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import redis

from ragline.common.metrics import JOBS_ACCEPTED, JOBS_ENDED, PAGES
from ragline.common.queues import Queue
from ragline.stores.ledger.keys import littered_key
from tests.support import pdfs
from tests.support.openai_stub import OpenAIStub, Reply
from tests.support.scraping import scrape
from tests.support.stack import Stack
from tests.support.waiting import wait_until

__all__ = ["CHAT_MODEL", "EMBEDDING_MODEL", "Expected", "mixed_workload", "workload_settings"]

CHAT_MODEL, EMBEDDING_MODEL = "stub-chat", "stub-embed"

_QUESTIONS_PER_MINUTE = 8
_SLOW_PAGES = 2_000
"""Enough for pypdf to read for several seconds."""

_REDISPATCH_SECONDS = 60
"""A lease, a sweep, and the start of a worker on a busy machine."""


@dataclass(kw_only=True)
class Expected:
    """What must have been counted, by the values of the labels; exact."""

    accepted: Counter[tuple[str, ...]] = field(default_factory=Counter)
    ended: Counter[tuple[str, ...]] = field(default_factory=Counter)
    failures: Counter[tuple[str, ...]] = field(default_factory=Counter)
    steps: Counter[tuple[str, ...]] = field(default_factory=Counter)
    redispatches: Counter[tuple[str, ...]] = field(default_factory=Counter)
    documents: Counter[tuple[str, ...]] = field(default_factory=Counter)
    cached: int = 0
    refused: int = 0
    pages: int = 0

    def job(self, kind: str, state: str) -> None:
        """One more job came to this end."""
        self.accepted[kind,] += 1
        self.ended[kind, state] += 1

    def step(self, queue: str, step: str, outcome: str = "done", times: int = 1) -> None:
        """Claims ended so."""
        self.steps[queue, step, outcome] += times

    def ingested(self, pages: int) -> None:
        """An upload went all its way."""
        self.job("ingest", "succeeded")
        self.step("document", "convert")
        self.step("document", "split")
        self.step("vectorstore", "index")
        self.pages += pages


def workload_settings(stub: OpenAIStub) -> Mapping[str, str]:
    """What the service must be started with."""
    return {
        "EMBEDDER": "openai",
        "EMBEDDING_MODEL": EMBEDDING_MODEL,
        "LLM_MODEL": CHAT_MODEL,
        "MODEL_PRICES": '{"stub-chat": {"input": 0.15, "output": 0.6}, "stub-embed": {"input": 0.02}}',
        "OPENAI_API_KEY": "sk-none",
        "OPENAI_BASE_URL": stub.url,
        "PDF_ENGINE": "pypdf",
        "RATE_LIMIT_RAG_PER_MINUTE": str(_QUESTIONS_PER_MINUTE),
        "TENANT_TOKENS_PER_DAY": "1",
    }


def mixed_workload(stack: Stack, stub: OpenAIStub) -> Expected:
    """Do it all; everything has ended when this returns."""
    expected = Expected()
    _uploads(stack, expected)
    _questions(stack, stub, expected)
    _demo_tasks(stack, expected)
    # What a process has not added yet is lost with it.
    _wait_for_pages(stack, expected)
    _lost_workers(stack, expected)
    _wait_for_pages(stack, expected)
    _refusals(stack, expected)
    _cleaning(stack, expected)
    return expected


def _uploads(stack: Stack, expected: Expected) -> None:
    first = stack.upload("papers", "a.pdf", pdfs.text_pdf(["Otters sleep in rafts.", "Herons stand on one leg."]))
    assert stack.finished_job(first["job_id"])["status"] == "succeeded"
    expected.ingested(pages=2)
    again = stack.ingest(
        "papers", "a.pdf", pdfs.text_pdf(["Otters sleep in rafts.", "Herons stand on one leg.", "Owls turn heads."])
    )
    assert again["status"] == "succeeded"
    expected.ingested(pages=3)
    stack.upload("papers", "a.pdf", pdfs.text_pdf(["Same.", "Bytes."]))
    same = stack.upload("papers", "a.pdf", pdfs.text_pdf(["Same.", "Bytes."]))
    assert stack.finished_job(same["job_id"])["status"] == "succeeded"
    expected.ingested(pages=2)
    assert stack.upload("papers", "a.pdf", pdfs.text_pdf(["Same.", "Bytes."]))["unchanged"]
    expected.job("ingest", "succeeded")

    assert stack.ingest("papers", "bad.pdf", pdfs.image_only_pdf())["status"] == "failed"
    expected.job("ingest", "failed")
    expected.failures["ingest", "no_text"] += 1
    expected.step("document", "convert", "failed")
    expected.pages += 1

    gone = stack.upload("papers", "gone.pdf", pdfs.text_pdf(["Gone soon."]))
    assert stack.finished_job(gone["job_id"])["status"] == "succeeded"
    expected.ingested(pages=1)
    deletion = stack.client.delete(f"/v1/documents/{gone['document_id']}").json()
    assert stack.finished_job(deletion["job_id"])["status"] == "succeeded"
    expected.job("delete", "succeeded")
    expected.step("vectorstore", "delete")
    assert stack.verify("papers")["consistent"]
    expected.job("verify", "succeeded")
    expected.step("default", "verify")
    expected.documents.update({("indexed",): 1, ("failed",): 1})


def _questions(stack: Stack, stub: OpenAIStub, expected: Expected) -> None:
    # The question is embedded, then the model is away once.
    stub.answer(Reply(), Reply(status=503))
    stack.ask("papers", "Which bytes?")
    expected.job("query", "succeeded")
    expected.step("rag", "answer", "retried")
    expected.step("rag", "answer")
    expected.redispatches["retry_due",] += 1
    stack.ask("papers", "Which bytes?")
    expected.job("query", "succeeded")
    expected.cached += 1
    # The tenant's tokens of this day are used up by now.
    refused = stack.client.post("/v1/collections/papers/queries", json={"question": "Why?"})
    assert refused.json()["code"] == "budget_exhausted", refused.text


def _demo_tasks(stack: Stack, expected: Expected) -> None:
    assert stack.finished_task("/tasks/process", {"data": "x"})["status"] == "Completed"
    expected.job("process", "succeeded")
    expected.step("default", "process")
    assert stack.finished_task("/tasks/workflow/chain", {"x": 1, "y": 2, "divisor": 3})["status"] == "Completed"
    expected.job("workflow", "succeeded")
    expected.step("default", "workflow")


def _lost_workers(stack: Stack, expected: Expected) -> None:
    """A pool's children die in mid-step, then the whole worker does, then one is told to stop."""
    worker = stack.workers[Queue.DOCUMENT]
    jobs = [stack.upload("lost", f"{n}.pdf", pdfs.long_text_pdf(_SLOW_PAGES, n))["job_id"] for n in (1, 2)]
    _wait_for_attempt(stack, jobs, 1)
    for child in _pool(worker.popen.pid):
        os.kill(child, signal.SIGKILL)
    _wait_for_attempt(stack, jobs, 2)
    worker.kill()
    worker.restart()
    _wait_for_attempt(stack, jobs, 3)
    expected.step("document", "convert", "lost", times=4)
    expected.redispatches["lease_expired",] += 4

    stack.client.delete(f"/v1/jobs/{jobs[0]}")
    assert stack.finished_job(jobs[0])["status"] == "cancelled"
    expected.step("document", "convert", "cancelled")
    worker.stop()
    expected.step("document", "convert", "interrupted")
    stack.client.delete(f"/v1/jobs/{jobs[1]}")
    cold = stack.upload("lost", "cold.pdf", pdfs.text_pdf(["Somebody has to start a worker."]))
    worker.restart()
    assert stack.finished_job(cold["job_id"])["status"] == "succeeded"
    expected.ingested(pages=1)
    expected.documents["indexed",] += 1
    for _ in jobs:
        expected.job("ingest", "cancelled")
    expected.documents["cancelled",] += 2


def _refusals(stack: Stack, expected: Expected) -> None:
    for _ in range(_QUESTIONS_PER_MINUTE + 1):
        reply = stack.client.post("/v1/collections/papers/queries", json={"question": "Why?"})
        expected.refused += reply.json()["code"] == "rate_limited"
    assert expected.refused


def _cleaning(stack: Stack, expected: Expected) -> None:
    """What failed and cancelled uploads left behind is cleaned by jobs of the service's own."""
    least = expected.documents["failed",] + expected.documents["cancelled",]

    def done() -> bool:
        told = scrape(stack.client)
        started, ended = told.total(JOBS_ACCEPTED, kind="clean"), told.total(JOBS_ENDED, kind="clean")
        return started == ended >= least and not client.exists(littered_key())

    with redis.Redis.from_url(stack.redis_url) as client:
        wait_until(done, timeout_seconds=30)
    cleaned = int(scrape(stack.client).total(JOBS_ENDED, kind="clean"))
    # One more when the renewal of the lease told the cancelled step to stop: it may have written after the first.
    assert least <= cleaned <= least + 1
    for _ in range(cleaned):
        expected.job("clean", "succeeded")
        expected.step("vectorstore", "clean")


def _wait_for_pages(stack: Stack, expected: Expected) -> None:
    """Processes add what they measure every few seconds."""
    wait_until(lambda: scrape(stack.client).total(PAGES) >= expected.pages, timeout_seconds=30)


def _wait_for_attempt(stack: Stack, jobs: list[str], attempt: int) -> None:
    def begun() -> bool:
        records = [stack.client.get(f"/v1/jobs/{job}").json() for job in jobs]
        assert {record["status"] for record in records} <= {"queued", "running"}, records
        return all(record["attempts"] == attempt and record["queue_position"] is None for record in records)

    wait_until(begun, timeout_seconds=_REDISPATCH_SECONDS)


def _pool(main: int) -> list[int]:
    """The processes of a worker's pool."""
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    assert len(children) >= 2, "the worker has no pool of processes"
    return [int(child) for child in children]
