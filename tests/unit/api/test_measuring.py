"""What is measured of a request: by the template of its address, however it was answered."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from http import HTTPStatus

import httpx2
import pytest
import structlog
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ragline.api import measuring, middleware
from ragline.api.measuring import measure_request
from ragline.api.middleware import DefectMiddleware, RequestContextMiddleware
from ragline.api.streaming import EventStream, OpenStreams
from ragline.common.measurements import Measurements
from tests.support.measured import taken

NAME = "a-name-that-people-chose"
STREAM_SECONDS = 0.3


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Measurements]:
    monkeypatch.setattr(middleware, "logger", structlog.get_logger())
    measurements = Measurements()
    monkeypatch.setattr(measuring, "MEASUREMENTS", measurements)
    with structlog.testing.capture_logs():
        yield measurements


class _Refusing:
    """Answers before the request has a route, as without a key."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = PlainTextResponse("no key", HTTPStatus.UNAUTHORIZED)
        await (refusal if scope["query_string"] == b"refuse" else self._app)(scope, receive, send)


def _app() -> FastAPI:
    app = FastAPI()
    app.add_middleware(_Refusing)
    app.add_middleware(DefectMiddleware)
    app.add_middleware(RequestContextMiddleware)

    @app.get("/things/{name}")
    async def _thing(request: Request, name: str) -> str:
        if name == "defect":
            raise ZeroDivisionError(request.url.path)
        return name

    @app.get("/stream")
    async def _stream() -> EventStream:
        return EventStream(_events(), streams=OpenStreams(limit=1, limit_per_tenant=1), tenant="default")

    @app.get("/healthz")
    async def _healthz() -> None:
        pass

    return app


async def _events() -> AsyncGenerator[bytes]:
    yield b": waiting\n\n"
    await asyncio.sleep(STREAM_SECONDS)
    yield b": waiting\n\n"


def _requests(measured: Measurements, *calls: tuple[str, str]) -> dict[str, int]:
    async def send() -> None:
        transport = httpx2.ASGITransport(_app())
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            for method, path in calls:
                await client.request(method, path)

    asyncio.run(send())
    return taken(measured)


def _counts(taken: dict[str, int]) -> dict[str, int]:
    prefix = "http_requests|"
    return {field.removeprefix(prefix): amount for field, amount in taken.items() if field.startswith(prefix)}


@pytest.mark.parametrize(
    ("method", "path", "series"),
    [
        ("GET", f"/things/{NAME}", "GET|/things/{name}|200"),
        ("GET", "/things/defect", "GET|/things/{name}|500"),
        ("POST", f"/things/{NAME}", "POST|/things/{name}|405"),
        ("GET", f"/things/{NAME}?refuse", "GET|/things/{name}|401"),
        ("GET", f"/{NAME}", "GET|unmatched|404"),
        ("BREW", f"/{NAME}", "other|unmatched|404"),
    ],
)
def test_request_is_counted_by_template_and_status(measured: Measurements, method: str, path: str, series: str) -> None:
    taken = _requests(measured, (method, path), (method, path))
    assert _counts(taken) == {series: 2}
    route = series.rpartition("|")[0]
    assert sum(amount for field, amount in taken.items() if field.startswith(f"http_request_duration|{route}|")) >= 2


def test_probe_is_not_counted(measured: Measurements) -> None:
    assert _requests(measured, ("GET", "/healthz")) == {}


def test_stream_lasts_until_its_first_byte(measured: Measurements) -> None:
    taken = _requests(measured, ("GET", "/stream"))
    assert taken["http_request_duration|GET|/stream|sum"] < STREAM_SECONDS * 1_000_000
    assert _counts(taken) == {"GET|/stream|200": 1}


def test_client_that_left_is_shown_as_such(measured: Measurements) -> None:
    scope = {"type": "http", "method": "GET", "path": "/x", "app": _app(), "state": {}}
    measure_request(scope, 0, 0.1)
    assert _counts(taken(measured)) == {"GET|unmatched|499": 1}
