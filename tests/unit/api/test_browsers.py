"""What browsers are told: security headers on every answer, other origins only where they are let in."""

import asyncio
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import structlog
from fastapi import FastAPI, Response

from ragline.api import main, middleware
from ragline.api.main import create_app
from ragline.common.config import ApiConfig
from tests.support.access import access_control

ORIGIN = "https://app.example.com"
PROXY, CLIENT = "10.1.2.3", "192.0.2.7"

App = Callable[..., FastAPI]


@pytest.fixture
def app_with(monkeypatch: pytest.MonkeyPatch) -> App:
    """Makes the real app, connected to nothing, for these settings."""
    monkeypatch.setattr(main, "configure_logging", lambda **_: None)
    monkeypatch.setattr(middleware, "logger", structlog.get_logger())

    def make(**settings: Any) -> FastAPI:  # noqa: ANN401 - of ApiConfig
        app = create_app(ApiConfig.model_validate(settings))
        app.state.context = SimpleNamespace(access=access_control(**settings))

        @app.get("/defect")
        async def _defect() -> None:
            raise ZeroDivisionError

        return app

    return make


def _send(
    app: FastAPI, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, peer: str = CLIENT
) -> httpx2.Response:
    async def send() -> httpx2.Response:
        transport = httpx2.ASGITransport(app, client=(peer, 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, headers=headers)

    with structlog.testing.capture_logs():
        return asyncio.run(send())


def _answers(app: FastAPI, headers: Mapping[str, str]) -> dict[int, httpx2.Response]:
    """One of each status that the layers around the handlers give."""
    key = {**headers, "X-API-Key": "k"}
    replies = [
        _send(app, "/healthz", headers=headers),
        _send(app, "/v1/jobs/x", headers=headers),
        _send(app, "/nowhere", headers=key),
        _send(app, "/tasks/info", method="PUT", headers=key),
        _send(app, "/tasks/process", method="POST", headers={**key, "Content-Length": "9999999"}),
        _send(app, "/tasks/process", method="POST", headers=key),
        _send(app, "/defect", headers=key),
        _send(app, "/nowhere", headers=key),
    ]
    found = {reply.status_code: reply for reply in replies}
    assert found.keys() == {200, 401, 404, 405, 413, 422, 500, 429}
    return found


SETTINGS = {"enable_auth": True, "api_keys": "k", "rate_limit_general_per_minute": 5}


def test_every_answer_carries_ids_and_security_headers(app_with: App) -> None:
    for status, reply in _answers(app_with(**SETTINGS), {"Origin": ORIGIN}).items():
        assert reply.headers["x-content-type-options"] == "nosniff", status
        assert reply.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'", status
        assert reply.headers["referrer-policy"] == "no-referrer", status
        assert reply.headers["cache-control"] == "no-store", status
        assert reply.headers["x-request-id"], status
        assert reply.headers["traceparent"], status
        assert "strict-transport-security" not in reply.headers, status
        assert not any(name.startswith("access-control") for name in reply.headers), status
        assert ("ratelimit" in reply.headers) == (status != 200), status


def test_every_answer_can_be_read_by_a_page_of_an_allowed_origin(app_with: App) -> None:
    app = app_with(**SETTINGS, cors_origins=f"https://other.example.com, {ORIGIN}")
    for status, reply in _answers(app, {"Origin": ORIGIN}).items():
        assert reply.headers["access-control-allow-origin"] == ORIGIN, status
        exposed = set(reply.headers["access-control-expose-headers"].split(", "))
        assert exposed >= {"X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After", "Location", "ETag"}
        assert "access-control-allow-credentials" not in reply.headers
        assert "Origin" in reply.headers["vary"]
    for origin in ("https://evil.example.com", "null", f"{ORIGIN}.evil.com", "http://app.example.com"):
        reply = _send(app, "/v1/collections", headers={"Origin": origin})
        assert "access-control-allow-origin" not in reply.headers, origin


def _preflight(app: FastAPI, origin: str, method: str = "POST") -> httpx2.Response:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "x-api-key, idempotency-key, content-type",
    }
    return _send(app, "/v1/collections/papers/documents", method="OPTIONS", headers=asked)


def test_a_preflight_needs_no_key_and_counts_for_nobody(app_with: App) -> None:
    app = app_with(enable_auth=True, api_keys="k", rate_limit_general_per_minute=1, cors_origins=ORIGIN)
    for _ in range(3):
        reply = _preflight(app, ORIGIN)
        assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, ORIGIN)
        assert {"POST", "DELETE"} <= set(reply.headers["access-control-allow-methods"].split(", "))
        assert reply.headers["x-request-id"]
        assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("origin", "method"), [("https://evil.example.com", "POST"), (ORIGIN, "PATCH")])
def test_a_preflight_of_somebody_else_is_a_problem(app_with: App, origin: str, method: str) -> None:
    reply = _preflight(app_with(cors_origins=ORIGIN), origin, method)

    assert (reply.status_code, reply.headers["content-type"]) == (403, "application/problem+json")
    assert reply.json()["request_id"] == reply.headers["x-request-id"]


def test_without_origins_a_preflight_is_a_request_like_any_other(app_with: App) -> None:
    assert _preflight(app_with(enable_auth=True), ORIGIN).status_code == 401
    assert _preflight(app_with(), ORIGIN).status_code == 405


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_pages_may_load_what_they_are_made_of(app_with: App, path: str) -> None:
    reply = _send(app_with(enable_auth=True), path)

    policy = reply.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="(https://[^/"]+)', reply.text)
    assert loaded
    assert all(host in policy for host in loaded)
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_the_pages_can_be_switched_off(app_with: App) -> None:
    app = app_with(docs_ui=False)
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        reply = _send(app, path)
        assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
        assert reply.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert _send(app, "/openapi.json").status_code == 200


def test_what_a_handler_says_about_caches_stays(app_with: App) -> None:
    app = app_with()

    @app.get("/cached")
    async def _cached() -> Response:
        return Response(headers={"Cache-Control": "no-cache"})

    assert _send(app, "/cached").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("trusted", "peer", "believed"),
    [
        ("", PROXY, False),
        ("", "127.0.0.1", False),
        ("10.0.0.0/8", PROXY, True),
        ("192.0.2.9, 10.1.2.3", PROXY, True),
        ("10.0.0.0/8", f"::ffff:{PROXY}", True),
        ("10.0.0.0/8", CLIENT, False),
        ("10.0.0.0/8", "::ffff:192.0.2.7", False),
    ],
)
def test_forwarded_headers_are_believed_from_trusted_proxies_alone(
    app_with: App, trusted: str, peer: str, believed: bool
) -> None:
    app = app_with(trusted_proxies=trusted, rate_limit_general_per_minute=1)

    def get(address: str) -> httpx2.Response:
        told = {"X-Forwarded-For": f"198.51.100.1, {address}", "X-Forwarded-Proto": "https"}
        return _send(app, "/nowhere", headers=told, peer=peer)

    first = get("203.0.113.1")
    assert ("strict-transport-security" in first.headers) == believed
    assert get("203.0.113.2").status_code == (404 if believed else 429)
    assert get("203.0.113.1").status_code == 429
