"""Readiness: told to probes each time, to the log when it changes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient
from structlog.testing import capture_logs
from structlog.typing import EventDict

from ragline.api import readiness
from ragline.api.context import ApiContext
from ragline.api.handlers import health
from ragline.api.problems import install_problem_handlers
from ragline.api.readiness import Readiness
from ragline.common.config import ApiConfig
from ragline.common.errors import TransientError


class Part:
    """A part of the service that is there or not."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.away = ""

    async def ping(self) -> None:
        if self.away:
            raise TransientError(self._name, "ping", "ConnectionError", reason=self.away)


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EventDict]]:
    with capture_logs() as entries:
        # A logger that another test has used keeps the processors of its first use.
        monkeypatch.setattr(readiness, "logger", structlog.get_logger())
        yield entries


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Part]:
    return {name: Part(name) for name in ("redis", "objects", "chroma")}


@pytest.fixture
def client(parts: dict[str, Part], tmp_path: Path) -> Iterator[TestClient]:
    context = ApiContext(ApiConfig(object_store_url=tmp_path.as_uri()))
    redis, objects, chroma = (cast("Any", parts[name]) for name in ("redis", "objects", "chroma"))
    context.readiness = Readiness(ledger=redis, objects=objects, chroma=chroma)
    app = FastAPI()
    install_problem_handlers(app)
    app.state.context = context
    app.include_router(health.router)
    yield TestClient(app)
    asyncio.run(context.close())


def test_a_change_of_readiness_is_logged_once(
    client: TestClient, parts: dict[str, Part], logs: list[EventDict]
) -> None:
    assert [client.get("/readyz").status_code for _ in range(2)] == [200, 200]
    parts["redis"].away = "invalid password"
    assert [client.get("/readyz").status_code for _ in range(3)] == [503] * 3
    parts["chroma"].away = "refused"
    reply = client.get("/readyz")
    parts["redis"].away = parts["chroma"].away = ""
    assert [client.get("/readyz").status_code for _ in range(2)] == [200, 200]

    assert (reply.json()["code"], reply.headers["retry-after"]) == ("dependency_unavailable", "2")
    assert "invalid password" not in reply.text
    assert [(line["log_level"], line["event"], line.get("missing")) for line in logs] == [
        ("warning", "not ready", ["redis"]),
        ("warning", "not ready", ["chroma", "redis"]),
        ("info", "ready again", None),
    ]
    assert "invalid password" in logs[0]["details"][0]


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded"])
def test_metrics_are_not_for_those_who_come_through_a_proxy(client: TestClient, name: str) -> None:
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", headers={name: "for=192.0.2.1"}).status_code == 404
