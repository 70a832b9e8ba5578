"""The API from outside of the cluster."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from e2e.support.kubectl import Kubectl
from ragline.cli.client import RaglineClient
from ragline.cli.failures import ApiFailure, ApiUnreachable
from ragline.cli.replies import Consistency, Submission, understood
from tests.support.waiting import wait_until

__all__ = ["Api", "forwarded"]

_JOB_SECONDS = 300
_SLOW_LOOK_SECONDS = 0.2


class Api(RaglineClient):
    """What the tests ask beyond what the commands of `ragline` do."""

    def ask_citations(self, collection: str, question: str) -> list[dict[str, Any]]:
        """What an answer rests on."""
        citations: list[dict[str, Any]] = self.ask(collection, question)["citations"]
        return citations

    def ask_later(self, collection: str, question: str) -> str:
        """The job of a question that nobody waits for."""
        path, headers = f"/v1/collections/{collection}/queries", {"Prefer": "respond-async"}
        return str(self._json("POST", path, json={"question": question}, headers=headers)["job_id"])

    def delete(self, document_id: str) -> str:
        """The job that deletes a document."""
        return str(self._json("DELETE", f"/v1/documents/{document_id}")["job_id"])

    def documents(self, collection: str) -> list[dict[str, Any]]:
        """All documents of a collection."""
        found: list[dict[str, Any]] = []
        path = f"/v1/collections/{collection}/documents?limit=200"
        while path:
            page = self._json("GET", path)
            found += page["documents"]
            path = page["next"]
        return found

    def ended(self, job_id: str, *, timeout_seconds: float = _JOB_SECONDS) -> dict[str, Any]:
        """The job at its end, whatever part of the service is away meanwhile."""
        job: dict[str, Any] = {}

        def has_ended() -> bool:
            nonlocal job
            try:
                job = self.job(job_id)
            except (ApiFailure, ApiUnreachable):
                return False
            return job["finished_at"] is not None

        wait_until(has_ended, timeout_seconds=timeout_seconds, interval_seconds=_SLOW_LOOK_SECONDS)
        return job

    def missing_parts(self) -> str:
        """What the API is not ready for, in its own words; empty when it is."""
        try:
            reply = self._http.get("/readyz")
        except httpx2.HTTPError as error:
            return str(error)
        return "" if reply.is_success else str(reply.json()["detail"])

    def process(self) -> str:
        """A job on the queue `default`."""
        return str(self._json("POST", "/tasks/process", json={"data": "some text"})["task_id"])

    def put(self, collection: str, name: str, pdf: bytes) -> Submission:
        """Upload bytes."""
        path = f"/v1/collections/{collection}/documents"
        headers = {"Content-Type": "application/pdf"}
        return understood(Submission, self._json("POST", path, params={"name": name}, content=pdf, headers=headers))

    def queue(self, name: str) -> dict[str, Any]:
        """Waiting and running work of a queue."""
        queues: list[dict[str, Any]] = self._json("GET", "/tasks/info")["queues"]
        return next(queue for queue in queues if queue["name"] == name)

    def verified(self, collection: str) -> Consistency:
        """What a comparison of Chroma with the manifests finds."""
        return understood(Consistency, self.ended(self.verify(collection).job_id)["result"])


@contextmanager
def forwarded(kubectl: Kubectl, target: str, port: int) -> Iterator[str]:
    """The address of a forwarded port; a forwarding that ends is begun again."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        local: int = free.getsockname()[1]
    closed = threading.Event()
    processes: list[subprocess.Popen[bytes]] = []

    def forward() -> None:
        place = ["--context", kubectl.context, "--namespace", kubectl.namespace]
        while not closed.wait(0.5):
            process = subprocess.Popen(
                ["kubectl", *place, "port-forward", target, f"{local}:{port}"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            processes[:] = [process]
            process.wait()

    thread = threading.Thread(target=forward, name="port-forward", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{local}"
    finally:
        closed.set()
        for process in processes:
            process.terminate()
        thread.join(timeout=5)
