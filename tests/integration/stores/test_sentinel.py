"""Redis behind Sentinels: the master dies, or hands over, and work goes on at the new one."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from celery import Celery

from ragline.api.context import ApiContext
from ragline.common.config import ApiConfig, WorkerConfig
from ragline.common.constants import BROKER_TIMEOUT_SECONDS
from ragline.common.errors import TransientError
from ragline.common.models import JobState
from ragline.common.queues import Queue
from ragline.common.trace_context import new_trace
from ragline.stores.ledger.keys import unacked_key
from ragline.stores.ledger.working import WorkLedger
from ragline.stores.redis_connection import redis_client
from ragline.worker.app import create_celery
from tests.support.ledger import new_document
from tests.support.pdfs import text_pdf
from tests.support.sentinels import MASTER, PASSWORD, SENTINEL_PASSWORD, Watched, watched_redis
from tests.support.servers import Process, free_port, python
from tests.support.waiting import wait_until


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with watched_redis(folder) as servers:
        yield servers


@dataclass(kw_only=True)
class Service:
    """An API and a worker of the queue `default` that know nothing of Redis but its Sentinels."""

    api: Process
    worker: Process
    client: httpx2.Client
    environment: dict[str, str]

    def result(self, path: str, body: dict[str, Any]) -> object:
        """Result of a demo task; tried again while the API says that it is worth it."""
        reply: httpx2.Response | None = None

        def accepted() -> bool:
            nonlocal reply
            reply = self.client.post(path, json=body)
            assert reply.is_success or (reply.status_code == 503 and "Retry-After" in reply.headers), reply.text
            return reply.is_success

        wait_until(accepted, timeout_seconds=15)
        assert reply is not None
        return self.finished(reply.json()["task_id"])

    def finished(self, task_id: str) -> object:
        """Result of a task that was accepted."""
        status: dict[str, Any] = {}

        def ended() -> bool:
            nonlocal status
            status = self.client.get(f"/tasks/status/{task_id}").json()
            return status.get("status") in {"Completed", "Failed"}

        wait_until(ended, timeout_seconds=20)
        assert status["status"] == "Completed", status
        return status["result"]


@pytest.fixture
def service(watched: Watched, tmp_path: Path) -> Iterator[Service]:
    port = free_port()
    environment = {
        "CACHE_DIR": str(tmp_path / "cache"),
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "DEBUG",
        "OBJECT_STORE_URL": f"file://{tmp_path}/objects",
        "RATE_LIMIT_GENERAL_PER_MINUTE": "0",
        "RATE_LIMIT_RAG_PER_MINUTE": "0",
        "REDIS_PASSWORD": PASSWORD,
        "REDIS_SENTINEL_MASTER": MASTER,
        "REDIS_SENTINEL_PASSWORD": SENTINEL_PASSWORD,
        "REDIS_URL": watched.url,
    }
    with ExitStack() as exits:
        serve = python("-m", "uvicorn", "ragline.api.main:create_app", "--factory", "--port", str(port))
        api = Process(serve, log=tmp_path / "api.log", env=environment)
        exits.callback(api.stop)
        command = python("-m", "ragline.worker.main", Queue.DEFAULT)
        worker = Process(command, log=tmp_path / "worker.log", env=environment)
        exits.callback(worker.stop)
        client = exits.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10))
        running = Service(api=api, worker=worker, client=client, environment=environment)
        worker.wait_ready(lambda: "worker ready" in worker.log.read_text())
        api.wait_ready(lambda: _answers(client))
        yield running


def test_work_goes_on_after_the_master_was_killed(watched: Watched, service: Service) -> None:
    assert service.result("/tasks/calculate/add", {"x": 2, "y": 3}) == 5
    # A chord: the results between its links go to Redis, too.
    assert service.result("/tasks/workflow/parallel", {"x": 10, "y": 5, "z": 2}) is not None
    waiting = _accepted(service)
    with watched.data_server(1) as replica:
        wait_until(lambda: replica.llen(Queue.DOCUMENT) == 1, timeout_seconds=5)

    watched.master.kill()

    assert service.result("/tasks/calculate/add", {"x": 20, "y": 3}) == 23
    assert watched.known_master() == watched.ports[1]
    assert service.client.get(f"/v1/jobs/{waiting}").json()["status"] == "queued"
    assert service.result("/tasks/workflow/parallel", {"x": 10, "y": 5, "z": 2}) is not None
    with watched.data_server(1) as master:
        wait_until(lambda: master.hlen(unacked_key(Queue.DEFAULT)) == 0, timeout_seconds=5)
        assert (master.llen(Queue.DEFAULT), master.llen(Queue.DOCUMENT)) == (0, 1)
    _tells_no_password(service)


def _accepted(service: Service) -> str:
    """Job of a document, whose queue nobody works on here."""
    files = {"file": ("a.pdf", text_pdf(["one page"]))}
    reply = service.client.post("/v1/collections/failover/documents", files=files)
    assert reply.status_code == 202, reply.text
    job_id: str = reply.json()["job_id"]
    return job_id


def _tells_no_password(service: Service) -> None:
    settings = {name.lower(): value for name, value in service.environment.items()}
    app: Celery = create_celery(WorkerConfig.model_validate(settings), Queue.DEFAULT)
    with app:
        inspect = app.control.inspect(timeout=2)
        told = [json.dumps(inspect.stats()), json.dumps(inspect.conf())]
    assert all("127.0.0.1" in text for text in told)
    for text in [*told, service.worker.log.read_text(), service.api.log.read_text()]:
        for password in (PASSWORD, SENTINEL_PASSWORD):
            assert password not in text
            assert quote(password, safe="") not in text


async def _context(watched: Watched, folder: Path) -> ApiContext:
    settings = {
        "redis_url": watched.url,
        "redis_password": PASSWORD,
        "redis_sentinel_master": MASTER,
        "redis_sentinel_password": SENTINEL_PASSWORD,
        "object_store_url": f"file://{folder}/objects",
    }
    context = ApiContext(ApiConfig.model_validate(settings))
    await context.ledger.ping()
    return context


async def _seconds_until_refused(context: ApiContext) -> float:
    started = time.monotonic()
    with pytest.raises(TransientError):
        await context.ledger.accept_document(new_document(), new_trace())
    return time.monotonic() - started


def test_api_is_refused_in_time_while_nobody_answers(watched: Watched, tmp_path: Path) -> None:
    async def scenario() -> list[float]:
        context = await _context(watched, tmp_path)
        try:
            watched.master.freeze()
            watched.sentinel.freeze()
            # Over the connection that it has, then over new ones.
            return [await _seconds_until_refused(context) for _ in range(3)]
        finally:
            watched.master.thaw()
            watched.sentinel.thaw()
            await context.close()

    assert max(asyncio.run(scenario())) < BROKER_TIMEOUT_SECONDS


def test_a_master_that_became_a_replica_is_left(watched: Watched, tmp_path: Path) -> None:
    """Its connections stay open and it can be read: only its refusal to write tells."""

    async def scenario() -> JobState:
        context = await _context(watched, tmp_path)
        try:
            for _ in range(3):
                await context.ledger.accept_document(new_document(), new_trace())
            watched.change_places()
            return await _accepted_at_last(context)
        finally:
            await context.close()

    assert asyncio.run(scenario()) is JobState.QUEUED
    settings = {"redis_url": watched.url, "redis_password": PASSWORD, "redis_sentinel_master": MASTER}
    config = WorkerConfig.model_validate({**settings, "redis_sentinel_password": SENTINEL_PASSWORD})
    with redis_client(config.redis_server, decode_responses=True) as client:
        WorkLedger(client).heartbeat(Queue.RAG, "worker")
        assert client.info("server")["tcp_port"] == watched.ports[1]


async def _accepted_at_last(context: ApiContext) -> JobState:
    for _ in range(3):
        try:
            submission = await context.ledger.accept_document(new_document(), new_trace())
        except TransientError:
            continue
        return (await context.ledger.job("default", submission.job_id)).state
    pytest.fail("the old master was asked again and again")


def _answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx2.HTTPError:
        return False
