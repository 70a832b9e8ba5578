"""Every address asks for the scope that fits it: found out by asking the app, so that none can be forgotten."""

import asyncio
import re
from types import SimpleNamespace

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from structlog.testing import capture_logs

from ragline.api import main, middleware
from ragline.api.main import create_app
from ragline.common.access import Principal, Scope
from ragline.common.config import ApiConfig

PUBLIC = {"healthz", "readyz", "get_error", "get_metrics", "openapi", "swagger_ui_html", "redoc_html"}
ASKING = {"query_collection", "query", "query_sync", "chat_completions", "create_embeddings"}
CANCELLING = {"cancel_job"}

Operation = tuple[str, str, str]
"""Method, path, name."""


class Gate:
    """Lets everybody in as somebody with these scopes."""

    def __init__(self) -> None:
        self.scopes: frozenset[Scope] = frozenset()

    async def judge(self, *_: object) -> object:
        principal = Principal(tenant="acme", caller="key_1", scopes=self.scopes)
        return SimpleNamespace(outcome=principal, headers={})


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def service(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The real app, whose handlers fail as soon as they touch anything."""
    monkeypatch.setattr(main, "configure_logging", lambda **_: None)
    monkeypatch.setattr(middleware, "logger", structlog.get_logger())
    app = create_app(ApiConfig())
    app.state.context = SimpleNamespace(access=gate)
    return app


def _operations(app: FastAPI) -> list[Operation]:
    found = [
        (method, re.sub(r"{\w+}", "x", route.path or ""), route.name or "")
        for route in iter_route_contexts(app.routes)
        for method in sorted(route.methods or ())
        if route.name not in PUBLIC
    ]
    assert len(found) >= 20
    assert {name for _, _, name in found} >= {"upload_document", "query", "get_job", "cancel_job", "process"}
    return found


def _wanted(method: str, name: str) -> set[Scope]:
    """The contract, in words that hold for addresses there will be."""
    if name in CANCELLING:
        return {Scope.INGEST, Scope.QUERY}
    if method == "GET":
        return {Scope.READ}
    return {Scope.QUERY} if name in ASKING else {Scope.INGEST}


def _status(app: FastAPI, method: str, path: str) -> tuple[int, str]:
    async def send() -> httpx2.Response:
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path)

    reply = asyncio.run(send())
    return reply.status_code, reply.json()["code"]


@pytest.mark.parametrize("held", [*Scope, None], ids=str)
def test_every_address_asks_for_its_scope(service: FastAPI, gate: Gate, held: Scope | None) -> None:
    gate.scopes = frozenset({held} if held else ())
    answers: dict[bool, int] = {True: 0, False: 0}
    for method, path, name in _operations(service):
        expected = held is not Scope.ADMIN and held not in _wanted(method, name)
        with capture_logs():
            status, code = _status(service, method, path)
        assert ((status, code) == (403, "forbidden")) == expected, (method, path, status, code)
        answers[expected] += 1
    assert (answers[True] > 0) == (held is not Scope.ADMIN)
    assert (answers[False] > 0) == (held is not None)


def test_all_scopes_but_one_are_not_enough(service: FastAPI, gate: Gate) -> None:
    for method, path, name in _operations(service):
        gate.scopes = frozenset(Scope) - _wanted(method, name) - {Scope.ADMIN}
        assert _status(service, method, path) == (403, "forbidden"), (method, path)


def test_the_openapi_page_says_so(service: FastAPI) -> None:
    document = service.openapi()
    assert document["components"]["securitySchemes"].keys() == {"ApiKey", "Bearer"}
    named = {operation["operationId"]: operation for item in document["paths"].values() for operation in item.values()}
    for method, _, name in _operations(service):
        scopes = sorted(_wanted(method, name))
        security = [{scheme: sorted(needed) for scheme, needed in way.items()} for way in named[name]["security"]]
        assert security == [{"ApiKey": scopes}, {"Bearer": scopes}], name
    assert "security" not in named["healthz"]
