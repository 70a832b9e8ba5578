"""Planned routes serve what FastAPI would serve, and refuse to be made where they could not."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Cookie,
    Depends,
    FastAPI,
    Header,
    Path,
    Query,
    Request,
    Response,
    Security,
)
from fastapi.responses import PlainTextResponse
from fastapi.security import APIKeyHeader, SecurityScopes
from pydantic import BaseModel, Field

from ragline.api.problems import install_problem_handlers
from ragline.api.routes import PlannedRouter
from ragline.common.errors import Forbidden


class Order(BaseModel):
    text: str = Field(min_length=2)
    amount: int = 1


class Receipt(BaseModel):
    parts: list[str | int | None]


_KEY = APIKeyHeader(name="X-API-Key", auto_error=False)

Mark = Annotated[str | None, Header(alias="X-Mark", pattern="^[a-z]+$")]


async def _mark(mark: Mark = None) -> str:
    return f"marked {mark}"


async def _name(request: Request, mark: Annotated[str, Depends(_mark)], needed: SecurityScopes) -> str:
    if "forbidden" in request.headers:
        raise Forbidden("no")
    return f"{mark} {' '.join(needed.scopes)}"


async def _tenant(
    name: Annotated[str, Depends(_name)], needed: SecurityScopes, _key: Annotated[str | None, Security(_KEY)]
) -> str:
    return f"{name} {' '.join(needed.scopes)}"


def _add_handlers(router: APIRouter) -> None:
    @router.post("/orders/{place}", status_code=202)
    async def order(
        *,
        body: Order,
        place: Annotated[str, Path(max_length=5)],
        response: Response,
        tenant: Annotated[str, Security(_tenant, scopes=["write"])],
        mark: Annotated[str, Depends(_mark)],
        count: Annotated[int, Query(ge=1)] = 3,
        prefer: Annotated[str, Header()] = "usual",
    ) -> Receipt:
        response.headers["X-Place"] = place
        return Receipt(parts=[body.text, body.amount, place, tenant, mark, count, prefer])

    @router.get("/words", response_class=PlainTextResponse)
    async def words(wanted: Annotated[str, Query()]) -> str:
        return wanted

    @router.get("/wrong")
    async def wrong() -> Receipt:
        return {"parts": {}}  # type: ignore[return-value] # the point of it

    @router.get("/own", response_model=Receipt)
    async def own() -> Response:
        return Response("own", 203)


def _ask(
    router: APIRouter, method: str, path: str, request: Mapping[str, Any] | None = None
) -> tuple[int, dict[str, str], str]:
    app = FastAPI()
    install_problem_handlers(app)
    app.router.routes.extend(router.routes)
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)

    async def ask() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **(request or {}))

    reply = asyncio.run(ask())
    return reply.status_code, dict(reply.headers), reply.text


def _ask_both(method: str, path: str, request: Mapping[str, Any] | None = None) -> tuple[int, dict[str, str], str]:
    """What both answer."""
    usual, planned = APIRouter(), PlannedRouter(tags=[])
    for router in (usual, planned):
        _add_handlers(router)
    answer = _ask(planned, method, path, request)
    assert answer == _ask(usual, method, path, request)
    return answer


JSON = {"content-type": "application/json"}
REQUESTS: Mapping[str, tuple[int, dict[str, Any]]] = {
    "whole": (202, {"json": {"text": "two", "amount": 2}, "params": {"count": 2}, "headers": {"x-mark": "a"}}),
    "defaults": (202, {"json": {"text": "two"}}),
    "first header, last parameter": (
        202,
        {
            "json": {"text": "two"},
            "headers": [("prefer", "a"), ("prefer", "b")],
            "params": [("count", 4), ("count", 5)],
        },
    ),
    "latin-1": (202, {"json": {"text": "two"}, "headers": [(b"prefer", b"gr\xfcn")]}),
    "json in another type": (
        202,
        {"content": b'{"text": "two"}', "headers": {"content-type": "Application/X+JSON; a=b"}},
    ),
    "everything wrong": (422, {"json": {"text": "t"}, "params": {"count": 0}, "headers": {"x-mark": "A"}}),
    "forbidden before invalid": (403, {"json": {"text": "t"}, "headers": {"forbidden": "1"}}),
    "broken json before forbidden": (422, {"content": b"{", "headers": {**JSON, "forbidden": "1"}}),
    "no body": (422, {"headers": JSON}),
    "null": (422, {"content": b"null", "headers": JSON}),
    "no media type": (415, {"content": b'{"text": "two"}'}),
    "another media type": (415, {"content": b'{"text": "two"}', "headers": {"content-type": "text/plain"}}),
    "no utf-8": (422, {"content": b'{"text": "\xff"}', "headers": JSON}),
    "deep json": (422, {"content": b"[" * 100_000, "headers": JSON}),
    "long number": (422, {"content": b"1" * 5000, "headers": JSON}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_read_as_fastapi_reads_it(name: str) -> None:
    status, request = REQUESTS[name]
    assert _ask_both("POST", "/orders/here", request)[0] == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/words?wanted=a", 200),
        ("GET", "/words", 422),
        ("GET", "/wrong", 500),
        ("GET", "/own", 203),
        ("POST", "/orders/too-long", 422),
        ("GET", "/orders/here", 405),
        ("GET", "/nowhere", 404),
    ],
)
def test_a_reply_leaves_as_fastapi_sends_it(method: str, path: str, status: int) -> None:
    assert _ask_both(method, path)[0] == status


def test_a_dependency_is_asked_once_for_each_request() -> None:
    asked = []

    async def counted() -> int:
        asked.append(1)
        return len(asked)

    async def twice(count: Annotated[int, Depends(counted)]) -> int:
        return count

    router = PlannedRouter(tags=[])

    @router.get("/")
    async def handler(a: Annotated[int, Depends(counted)], b: Annotated[int, Depends(twice)]) -> list[int]:
        return [a, b]

    assert _ask(router, "GET", "/")[2] == "[1,1]"
    assert _ask(router, "GET", "/")[2] == "[2,2]"


def _sync() -> None: ...


async def _cookie(_value: Annotated[str, Cookie()]) -> None: ...


async def _background(_tasks: BackgroundTasks) -> None: ...


async def _many(_values: Annotated[list[str], Query()]) -> None: ...


async def _two_bodies(a: Order, b: Order) -> None: ...


async def _generator() -> AsyncIterator[int]:
    yield 1


async def _needs_generator(_value: Annotated[int, Depends(_generator)]) -> None: ...


@pytest.mark.parametrize("handler", [_sync, _cookie, _background, _many, _two_bodies, _needs_generator])
def test_what_a_plan_cannot_give_is_refused_at_once(handler: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=handler.__name__ if handler is not _needs_generator else "_generator"):
        PlannedRouter(tags=[]).add_api_route("/", handler)
