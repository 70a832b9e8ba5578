from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from ragline.cli.client import RaglineClient
from ragline.cli.failures import ApiFailure
from ragline.cli.why import Account, account_for
from tests.support.fake_api import FakeApi, events, problem

NOW = datetime(2025, 11, 24, 16, 10, tzinfo=UTC)
PAGE = """## attempts_exhausted

The work failed as often as it may. HTTP status 503.

* **When:** A step failed as often as it may.
* **What to do:** Send it again.
* **Operators:** The worker logs the reason.
"""

HARMLESS = """* **When:** Somebody cancelled it.
* **What to do:** Nothing.
* **Operators:** Nothing.
"""


def job(**fields: object) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "id": "job_1",
        "kind": "ingest",
        "status": "running",
        "step": "index",
        "queue": "vectorstore",
        "progress": {"done": 64, "total": 200, "unit": "chunks"},
        "attempts": 2,
        "interruptions": 1,
        "document_id": "doc_1",
        "collection": "papers",
        "next": "vectorstore@one is working on step index",
        "trace_id": "a" * 32,
        "created_at": "2025-11-24T16:00:00Z",
    }
    return {**plain, **fields}


def account(record: dict[str, Any], *, workers: list[str] | None = None, name: str = "job_1") -> Account:
    queue = {"name": "vectorstore", "waiting": 12, "in_flight": 4, "workers": ["v@one"] if workers is None else workers}
    metrics = (
        '# TYPE ragline_queue_oldest_age_seconds gauge\nragline_queue_oldest_age_seconds{queue="vectorstore"} 130\n'
    )
    stream = httpx2.Response(
        200,
        headers={"Content-Type": "text/event-stream"},
        content="id: 1764000570000-0\nevent: progress\ndata: {}\n\n",
    )
    api = FakeApi(
        {
            "GET /v1/jobs/job_1": [httpx2.Response(200, json=record)],
            "GET /v1/documents/doc_1": [httpx2.Response(200, json={"state": "indexing", "job": record})],
            "GET /v1/jobs/job_1/events": [stream if record["status"] == "running" else events()],
            "GET /tasks/info": [httpx2.Response(200, json={"queues": [queue]})],
            "GET /metrics": [httpx2.Response(200, text=metrics)],
            "GET /errors/attempts_exhausted": [httpx2.Response(200, text=PAGE)],
            "GET /errors/cancelled": [httpx2.Response(200, text=HARMLESS)],
            "GET /errors/dependency_unavailable": [problem(404, "not_found")],
        }
    )
    return account_for(name, RaglineClient("http://one", transport=api.transport), now=NOW)


def test_a_running_job_says_where_it_is_and_since_when() -> None:
    error = {"code": "dependency_unavailable", "title": "A part is away", "detail": "chroma: timed out"}
    told = account(job(error=error), name="doc_1")
    assert told.sentences == (
        (
            "Job job_1 (ingest of document doc_1 in collection papers), accepted 10 min ago, is at step index on queue "
            "vectorstore, 64 of 200 chunks, attempt 2, handed back 1 time."
        ),
        "The last that was heard of it was 30 s ago.",
        "On queue vectorstore 12 wait, the oldest for 2 min, 4 are in flight and 1 worker is alive.",
        "Why its last attempt did not go on: A part is away: chroma: timed out (code dependency_unavailable).",
        "Next: vectorstore@one is working on step index.",
    )
    assert told.commands == ("ragline trace job_1", "ragline top")


def test_a_job_that_waits_says_what_for() -> None:
    record = job(status="queued", queue_position=7, next="Queue vectorstore has no worker")
    told = account(record, workers=[])
    assert "waits on queue vectorstore for step index." in told.sentences[0]
    assert told.sentences[1] == "No worker has touched it yet."
    assert told.sentences[2].startswith("7 jobs stand before it; on queue vectorstore 12 wait, the oldest for 2 min,")
    assert told.sentences[2].endswith("and no worker is alive.")
    assert told.commands == ("ragline explain-scale vectorstore", "ragline top", "ragline trace job_1")


def test_a_job_that_failed_says_why_and_what_the_code_means() -> None:
    error = {"code": "attempts_exhausted", "title": "Failed too often", "detail": "step index"}
    ended = {"finished_at": "2025-11-24T16:04:00Z", "next": "Nothing: the job has ended"}
    told = account(job(status="failed", error=error, **ended))
    assert told.sentences == (
        "Job job_1 (ingest of document doc_1 in collection papers) failed 6 min ago, 4 min after it came.",
        "Why: Failed too often: step index (code attempts_exhausted).",
        "A step failed as often as it may.",
        "What to do: Send it again.",
        "Operators: The worker logs the reason.",
        "Nothing happens to it any more.",
    )
    assert told.commands == ("ragline trace job_1",)


def test_what_needs_nobody_is_not_said() -> None:
    error = {"code": "cancelled", "title": "The job was cancelled", "detail": ""}
    ended = {"finished_at": "2025-11-24T16:04:00Z", "next": "Nothing: the job has ended"}
    told = account(job(status="cancelled", error=error, **ended))
    assert told.sentences[1:] == (
        "Why: The job was cancelled (code cancelled).",
        "Somebody cancelled it.",
        "Nothing happens to it any more.",
    )


def test_a_job_that_succeeded_needs_nothing() -> None:
    told = account(job(status="succeeded", finished_at="2025-11-24T16:00:04Z"))
    assert "succeeded 10 min ago, 4.0 s after it came." in told.sentences[0]
    assert told.commands == ()


def test_an_id_of_nothing_is_a_failure() -> None:
    api = FakeApi({"GET /v1/jobs/job_9": [problem(404, "not_found", title="There is no such job")]})
    with pytest.raises(ApiFailure, match="There is no such job"):
        account_for("job_9", RaglineClient("http://one", transport=api.transport), now=NOW)
