"""The API as a container runs it: gunicorn, one log pipe, Redis away or refusing it, an end in time."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from tests.support.servers import Process, free_port, python, valkey_server
from tests.support.waiting import wait_until

PASSWORD = "pa:ss@w/o#rd"


@dataclass(kw_only=True)
class Api:
    """A running API, whose Redis has another password."""

    process: Process
    client: httpx2.Client
    redis: "redis.Redis"

    def lines(self) -> list[dict[str, Any]]:
        """Its log; fails when a line is not JSON."""
        return [json.loads(line) for line in self.process.log.read_text().splitlines()]

    def status(self, path: str) -> int:
        """HTTP status of a path; 0 while nobody answers."""
        try:
            return self.client.get(path).status_code
        except httpx2.HTTPError:
            return 0


@pytest.fixture
def api(tmp_path: Path, chroma_url: str) -> Iterator[Api]:
    with ExitStack() as exits:
        url, _ = exits.enter_context(valkey_server(tmp_path / "valkey"))
        admin = exits.enter_context(redis.Redis.from_url(url))
        admin.config_set("requirepass", "another")
        port = free_port()
        environment = {
            "API_PORT": str(port),
            "CHROMA_URL": chroma_url,
            "LOG_FORMAT": "json",
            "OBJECT_STORE_URL": f"file://{tmp_path}/objects",
            "REDIS_PASSWORD": PASSWORD,
            "REDIS_URL": url,
            "WEB_CONCURRENCY": "1",
        }
        process = Process(python("-m", "ragline.api.server"), log=tmp_path / "api.log", env=environment)
        exits.callback(process.stop)
        client = exits.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10))
        running = Api(process=process, client=client, redis=admin)
        process.wait_ready(lambda: running.status("/healthz") == 200)
        yield running


def test_a_refused_api_lives_says_why_once_and_works_when_let_in(api: Api) -> None:
    assert [api.status("/readyz") for _ in range(4)] == [503] * 4
    api.redis.config_set("requirepass", PASSWORD)
    wait_until(lambda: api.status("/readyz") == 200, timeout_seconds=10)
    assert api.status("/tasks/info") == 200

    lines = api.lines()
    assert [line["event"] for line in lines if line["event"] in {"not ready", "ready again"}] == [
        "not ready",
        "ready again",
    ]
    [refused] = [line for line in lines if line["event"] == "not ready"]
    assert refused["missing"] == ["redis"]
    assert "invalid username-password" in refused["details"][0]
    assert not any("exception" in line or "/readyz" in line.values() for line in lines)
    assert PASSWORD not in api.process.log.read_text()


def test_all_lines_are_ours_and_it_ends_when_told(api: Api) -> None:
    assert api.process.stop() == 0

    lines = api.lines()
    events = [line["event"] for line in lines if line["logger"] == "gunicorn.error"]
    assert events[0].startswith("Starting gunicorn")
    assert "Shutting down: Master" in events
    assert any(line["logger"] == "uvicorn.error" for line in lines)


def test_a_killed_worker_is_replaced(api: Api) -> None:
    master = api.process.popen.pid
    children = Path(f"/proc/{master}/task/{master}/children")
    [first] = children.read_text().split()
    os.kill(int(first), signal.SIGKILL)

    wait_until(lambda: children.read_text().split() not in ([], [first]), timeout_seconds=10)
    wait_until(lambda: api.status("/healthz") == 200, timeout_seconds=10)
