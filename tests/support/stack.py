"""The whole service on real parts, as child processes: what `ragline up` starts, with handles to kill each of them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from ragline.common.queues import Queue
from tests.support.api import serve_command
from tests.support.servers import Process, chroma_server, free_port, python, valkey_server
from tests.support.waiting import wait_until

__all__ = ["Stack", "running_stack"]

_JOB_SECONDS = 60


@dataclass(kw_only=True)
class Stack:
    """A running service and a client of it; `environment` is that of its parts."""

    folder: Path
    environment: Mapping[str, str]
    client: httpx2.Client
    redis_url: str
    chroma_url: str
    valkey: Process
    chroma: Process
    api: Process
    workers: dict[Queue, Process] = field(default_factory=dict)

    def ready(self) -> bool:
        """Whether the API and what it needs are there."""
        try:
            return self.client.get("/readyz").is_success
        except httpx2.HTTPError:
            return False

    def finished_job(self, job_id: str, *, timeout_seconds: float = _JOB_SECONDS) -> dict[str, Any]:
        """The job once it has ended."""
        job: dict[str, Any] = {}

        def ended() -> bool:
            nonlocal job
            job = self.client.get(f"/v1/jobs/{job_id}", params={"wait": 1}).json()
            return job.get("status") in {"succeeded", "failed", "cancelled"}

        wait_until(ended, timeout_seconds=timeout_seconds)
        return job

    def finished_task(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What the original's status endpoint says at the end of a task."""
        task_id = self.client.post(path, json=body).json()["task_id"]
        status: dict[str, Any] = {}

        def ended() -> bool:
            nonlocal status
            status = self.client.get(f"/tasks/status/{task_id}").json()
            return status["status"] in {"Completed", "Failed"}

        wait_until(ended, timeout_seconds=_JOB_SECONDS)
        return status

    def ingest(self, collection: str, name: str, data: bytes) -> dict[str, Any]:
        """The finished job of an upload."""
        return self.finished_job(self.upload(collection, name, data)["job_id"])

    def ask(self, collection: str, question: str, top_k: int = 3) -> dict[str, Any]:
        """The answer to a question."""
        reply = self.client.post(f"/v1/collections/{collection}/queries", json={"question": question, "top_k": top_k})
        assert reply.status_code == 200, reply.text
        answer: dict[str, Any] = reply.json()
        return answer

    def upload(self, collection: str, name: str, data: bytes) -> dict[str, Any]:
        """The reply to an upload."""
        reply = self.client.post(f"/v1/collections/{collection}/documents", files={"file": (name, data)})
        assert reply.status_code == 202, reply.text
        submission: dict[str, Any] = reply.json()
        return submission

    def verify(self, collection: str) -> dict[str, Any]:
        """The report of a verification."""
        job_id = self.client.post(f"/v1/collections/{collection}/verifications").json()["job_id"]
        report: dict[str, Any] = self.finished_job(job_id)["result"]
        return report

    def workers_alive(self) -> dict[str, list[str]]:
        """Names of living workers by queue."""
        return {queue["name"]: queue["workers"] for queue in self.client.get("/tasks/info").json()["queues"]}


@contextmanager
def running_stack(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """Start everything.

    Parameters
    ----------
    settings
        Environment variables for all parts. The first of API_KEYS is sent with every request, and a REDIS_PASSWORD
        protects the Valkey.
    """
    given = settings or {}
    with ExitStack() as exits:
        redis_url, valkey = exits.enter_context(
            valkey_server(folder / "valkey", password=given.get("REDIS_PASSWORD", ""))
        )
        chroma_url, chroma = exits.enter_context(chroma_server(folder / "chroma"))
        port = free_port()
        env = {**_settings(folder, redis_url, chroma_url), **given}
        api = Process(serve_command(port), log=folder / "api.log", env=env)
        exits.callback(api.stop)
        headers = {"X-API-Key": key} if (key := given.get("API_KEYS", "").partition(",")[0]) else {}
        url = f"http://127.0.0.1:{port}"
        client = exits.enter_context(httpx2.Client(base_url=url, headers=headers, timeout=70))
        stack = Stack(
            folder=folder,
            environment={**os.environ, **env},
            client=client,
            redis_url=redis_url,
            chroma_url=chroma_url,
            valkey=valkey,
            chroma=chroma,
            api=api,
        )
        for queue in Queue:
            worker = Process(python("-m", "ragline.worker.main", queue), log=folder / f"{queue}.log", env=env)
            exits.callback(worker.stop)
            stack.workers[queue] = worker
        api.wait_ready(stack.ready)
        wait_until(lambda: all(stack.workers_alive().values()), timeout_seconds=30)
        yield stack


def _settings(folder: Path, redis_url: str, chroma_url: str) -> dict[str, str]:
    uploads = folder / "uploads"
    uploads.mkdir()
    # Shared by all stacks of a test session: the embedder's graph is built once.
    cache = os.environ.get("RAGLINE_TEST_CACHE_DIR", str(folder / "cache"))
    return {
        "REDIS_URL": redis_url,
        "CHROMA_URL": chroma_url,
        "OBJECT_STORE_URL": f"file://{folder}/objects",
        "UPLOAD_ROOT": str(uploads),
        "CACHE_DIR": cache,
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "DEBUG",
        # Tests send what they need at once; those about limits set them.
        "RATE_LIMIT_GENERAL_PER_MINUTE": "0",
        "RATE_LIMIT_RAG_PER_MINUTE": "0",
    }
