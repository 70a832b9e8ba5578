"""The parts that are measured, each a process of its own: the API as a container runs it, and its peers."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import redis

from ragline.common.access import Scope
from ragline.common.queues import Queue
from ragline.stores.api_keys import ApiKeyAdministration
from ragline.stores.ledger.keys import workers_key
from tests.support.servers import Process, chroma_server, free_port, python, valkey_server
from tests.support.waiting import wait_until

__all__ = ["Service", "api", "app_server", "cpu_seconds", "make_key", "memory_bytes", "service", "valkey_server"]

_PLENTY = str(10**7)
"""For bounds that a benchmark must not run into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running API and its parts."""

    port: int
    process: Process
    client: httpx2.Client
    redis_url: str

    @property
    def redis(self) -> "redis.Redis":
        """A client of its Redis."""
        return redis.Redis.from_url(self.redis_url, decode_responses=True)

    def ended(self, job_id: str, *, timeout_seconds: float = 120) -> str:
        """State of a job once it has ended."""
        state = ""

        def done() -> bool:
            nonlocal state
            state = self.client.get(f"/v1/jobs/{job_id}", params={"wait": 5}).json()["status"]
            return state in {"succeeded", "failed", "cancelled"}

        wait_until(done, timeout_seconds=timeout_seconds)
        return state

    def upload(self, collection: str, name: str, data: bytes, *, key: str = "") -> str:
        """Upload a document; its job."""
        reply = self.client.post(
            f"/v1/collections/{collection}/documents",
            params={"name": name},
            content=data,
            headers={"Content-Type": "application/pdf", **({"X-API-Key": key} if key else {})},
        )
        assert reply.status_code == 202, reply.text
        job_id: str = reply.json()["job_id"]
        return job_id


@contextmanager
def api(
    folder: Path, redis_url: str, settings: Mapping[str, str] | None = None, *, launcher: str = ""
) -> Iterator[Service]:
    """One process of the API on the server of a container; `launcher` as for `service`."""
    env = {**_settings(folder, redis_url), **(settings or {})}
    port = free_port()
    command = _command(launcher, "ragline.api.server")
    process = Process(command, log=folder / "api.log", env={**env, "API_PORT": str(port)})
    with ExitStack() as exits:
        exits.callback(process.stop)
        client = exits.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=120))
        process.wait_ready(lambda: _answers(client, "/healthz"))
        yield Service(port=port, process=process, client=client, redis_url=redis_url)


@contextmanager
def app_server(app: str, log: Path, env: Mapping[str, str] | None = None) -> Iterator[tuple[int, Process]]:
    """An ASGI app factory on uvicorn with the API's loop and parser; port and process. It must answer ``/healthz``."""
    port = free_port()
    options = (
        "--port",
        str(port),
        "--no-access-log",
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--log-level",
        "error",
    )
    process = Process(python("-m", "uvicorn", "--factory", app, *options), log=log, env=env)
    with ExitStack() as exits:
        exits.callback(process.stop)
        client = exits.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30))
        process.wait_ready(lambda: _answers(client, "/healthz"))
        yield port, process


def cpu_seconds(process: Process) -> float:
    """CPU time that a process and its children have used."""
    total = 0
    for each in _with_children(process):
        fields = Path(f"/proc/{each}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def make_key(redis_url: str, tenant: str, **limits: int) -> str:
    """A key of this tenant, as `ragline keys create` makes it."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        scopes = frozenset({Scope.INGEST, Scope.QUERY, Scope.READ})
        return ApiKeyAdministration(client).create(name="benchmark", tenant=tenant, scopes=scopes, limits=limits)[1]


def memory_bytes(process: Process, field: str = "VmRSS") -> int:
    """Memory of a process and its children; `VmHWM` for the most they ever had."""
    total = 0
    for each in _with_children(process):
        status = Path(f"/proc/{each}/status").read_text(encoding="utf-8")
        total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:")) * 1024
    return total


@contextmanager
def service(folder: Path, settings: Mapping[str, str] | None = None, *, launcher: str = "") -> Iterator[Service]:
    """Everything: Valkey, Chroma, the API and a worker of each queue.

    Parameters
    ----------
    launcher
        A module that starts the API and the workers, given their module and arguments.
    """
    with ExitStack() as exits:
        redis_url, _ = exits.enter_context(valkey_server(folder / "valkey"))
        chroma_url, _ = exits.enter_context(chroma_server(folder / "chroma"))
        own = {"CHROMA_URL": chroma_url, **(settings or {})}
        running = exits.enter_context(api(folder, redis_url, own, launcher=launcher))
        for queue in Queue:
            command = _command(launcher, "ragline.worker.main", queue)
            env = {**_settings(folder, redis_url), **own}
            exits.callback(Process(command, log=folder / f"{queue}.log", env=env).stop)
        wait_until(lambda: _has_workers(running), timeout_seconds=60)
        yield running


def _command(launcher: str, module: str, *arguments: str) -> list[str]:
    return python("-m", *filter(None, (launcher, module)), *arguments)


def _answers(client: httpx2.Client, path: str) -> bool:
    try:
        return client.get(path).is_success
    except httpx2.HTTPError:
        return False


def _with_children(process: Process) -> list[str]:
    pid = process.popen.pid
    return [str(pid), *Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


def _has_workers(running: Service) -> bool:
    with running.redis as client:
        return all(client.zcard(workers_key(queue)) for queue in Queue)


def _settings(folder: Path, redis_url: str) -> dict[str, str]:
    (folder / "uploads").mkdir(parents=True, exist_ok=True)
    return {
        "CACHE_DIR": str(folder / "cache"),
        "LOG_FORMAT": "json",
        "MAX_BACKLOG": _PLENTY,
        "MAX_BACKLOG_PER_TENANT": _PLENTY,
        "OBJECT_STORE_URL": f"file://{folder}/objects",
        "RATE_LIMIT_GENERAL_PER_MINUTE": "0",
        "RATE_LIMIT_RAG_PER_MINUTE": "0",
        "REDIS_URL": redis_url,
        "UPLOAD_ROOT": str(folder / "uploads"),
    }
