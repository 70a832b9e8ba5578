"""Who is let in, what is counted for whom, and what the answer says about it."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request
from starlette.types import Message
from starlette.types import Scope as ASGIScope

from ragline.api import access
from ragline.api.access import AccessControl, AccessMiddleware, Verdict, client_address, policy_of
from ragline.api.middleware import RequestContextMiddleware
from ragline.common.access import Principal, Scope
from ragline.common.errors import RateLimited, TransientError, Unauthorized
from ragline.common.spans import Span, Tracer, use_tracer
from ragline.stores.api_keys import StoredKey
from tests.support.access import Clock, KeyTable, access_control

TOKEN, OTHER = "rk_" + "a" * 43, "rk_" + "b" * 43
HERE, THERE = "192.0.2.1", "192.0.2.2"


def _key(name: str = "key_a", **fields: Any) -> StoredKey:  # noqa: ANN401 - of the record
    usual: dict[str, Any] = {"name": "n", "tenant": "acme", "scopes": frozenset(Scope), "prefix": "rk_aaaaaaa"}
    return StoredKey(**{"id": name, "sha256": "0" * 64, "created_at": 1, **usual, **fields})


def _judge(control: AccessControl, token: str | None = TOKEN, address: str = HERE, policy: str = "general") -> Verdict:
    return asyncio.run(control.judge(token, address, policy))


def _principal(verdict: Verdict) -> Principal:
    assert isinstance(verdict.outcome, Principal)
    return verdict.outcome


def test_a_key_gives_its_tenant_scopes_and_limits() -> None:
    key = _key(scopes=frozenset({Scope.READ}), general_per_minute=7, rag_per_minute=2)
    control = access_control(keys=KeyTable(**{TOKEN: key}), enable_auth=True)

    assert _principal(_judge(control)) == Principal(
        tenant="acme", caller="key_a", scopes=key.scopes, general_per_minute=7, rag_per_minute=2
    )


@pytest.mark.parametrize("token", [None, "", OTHER])
def test_who_has_no_key_is_not_let_in(token: str | None) -> None:
    control = access_control(keys=KeyTable(**{TOKEN: _key()}), enable_auth=True, api_keys="static")

    assert isinstance(_judge(control, token).outcome, Unauthorized)


def test_without_authentication_everybody_is_the_default_tenant_and_counts_by_address() -> None:
    control = access_control(rate_limit_general_per_minute=1)

    assert _principal(_judge(control, None)) == Principal(tenant="default", caller=HERE)
    assert isinstance(_judge(control, TOKEN).outcome, RateLimited)
    assert _principal(_judge(control, None, THERE)).may(Scope.ADMIN)


def test_plain_keys_are_counted_apart_and_never_named() -> None:
    control = access_control(enable_auth=True, api_keys="first, second,", rate_limit_general_per_minute=1)

    first, second = _principal(_judge(control, "first")), _principal(_judge(control, "second"))
    assert (first, second.caller) == (Principal(tenant="default", caller="static_1"), "static_2")
    assert isinstance(_judge(control, "first").outcome, RateLimited)


def test_a_key_is_looked_up_every_five_seconds() -> None:
    clock, table = Clock(), KeyTable(**{TOKEN: _key()})
    control = access_control(keys=table, clock=clock, enable_auth=True)
    for _ in range(20):
        _principal(_judge(control))
    clock.now += 4.9
    _principal(_judge(control))
    assert len(table.asked) == 1

    table.keys.clear()
    clock.now += 0.2
    assert isinstance(_judge(control).outcome, Unauthorized)
    assert len(table.asked) == 2


def test_a_key_is_not_believed_beyond_its_end() -> None:
    clock = Clock()
    table = KeyTable(**{TOKEN: _key(expires_at=int(clock.now) + 2)})
    control = access_control(keys=table, clock=clock, enable_auth=True)
    _principal(_judge(control))
    clock.now += 1.9
    _principal(_judge(control))
    clock.now += 0.1
    _judge(control)
    assert len(table.asked) == 2


def test_a_new_key_works_at_once_though_it_was_tried_before() -> None:
    table = KeyTable()
    control = access_control(keys=table, enable_auth=True)
    _judge(control)
    table.keys[TOKEN] = _key()
    _principal(_judge(control))


def test_made_up_keys_fill_nothing_and_push_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_MAX_CACHED_KEYS", 3)
    tokens = [f"rk_{letter * 43}" for letter in "abcde"]
    table = KeyTable(**{token: _key() for token in tokens})
    control = access_control(keys=table, enable_auth=True)
    _principal(_judge(control))
    for number in range(100):
        _judge(control, f"rk_{number:043d}")
    assert len(control._known) == 1
    for token in tokens:
        _principal(_judge(control, token))
        _principal(_judge(control, tokens[0]))
    assert len(control._known) == 3
    assert table.asked.count(tokens[0]) == 1


def test_who_fails_too_often_cannot_go_on_to_guess() -> None:
    clock, table = Clock(), KeyTable(**{TOKEN: _key(), OTHER: _key("key_b")})
    control = access_control(
        keys=table, clock=clock, enable_auth=True, api_keys="static", rate_limit_general_per_minute=3
    )
    _principal(_judge(control, OTHER))
    failures = [_judge(control, f"rk_{number:043d}") for number in range(3)]
    assert [failure.usage.remaining for failure in failures if failure.usage] == [2, 1, 0]
    assert all(isinstance(failure.outcome, Unauthorized) for failure in failures)

    asked = len(table.asked)
    for guess in ("rk_" + "9" * 43, TOKEN, "static", None):
        assert isinstance(_judge(control, guess).outcome, RateLimited)
    assert len(table.asked) == asked
    # Others are not held up: not a key in use behind the same address, nor another address.
    clock.now += 6
    _principal(_judge(control, OTHER))
    _principal(_judge(control, TOKEN, THERE))
    clock.now += 60
    _principal(_judge(control, "static"))


def test_a_keys_own_limits_win_and_zero_is_none() -> None:
    table = KeyTable(**{TOKEN: _key(general_per_minute=2, rag_per_minute=0), OTHER: _key("key_b")})
    control = access_control(keys=table, enable_auth=True, rate_limit_general_per_minute=5, rate_limit_rag_per_minute=1)

    first = _judge(control)
    assert first.headers == {"RateLimit-Policy": '"general";q=2;w=60', "RateLimit": '"general";r=1;t=60'}
    assert _judge(control, policy="rag").headers == {}
    other = _judge(control, OTHER, policy="rag")
    assert other.headers == {"RateLimit-Policy": '"rag";q=1;w=60', "RateLimit": '"rag";r=0;t=60'}
    assert isinstance(_judge(control, OTHER, policy="rag").outcome, RateLimited)
    _principal(_judge(control, OTHER))


def test_a_refusal_says_when_the_next_request_passes() -> None:
    clock = Clock()
    control = access_control(clock=clock, rate_limit_general_per_minute=60)
    for _ in range(60):
        _principal(_judge(control))
        clock.now += 0.5
    refused = _judge(control)
    assert isinstance(refused.outcome, RateLimited)
    assert refused.outcome.retry_after is not None
    wait = refused.outcome.retry_after.total_seconds()
    assert (wait, refused.headers["RateLimit"]) == (30, '"general";r=0;t=30')

    clock.now += wait - 1
    assert isinstance(_judge(control).outcome, RateLimited)
    clock.now += 1.001
    _principal(_judge(control))
    assert isinstance(_judge(control).outcome, RateLimited)


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.7", 5), "192.0.2.7"),
        (("::ffff:192.0.2.7", 5), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::1", 5), "2001:db8:1:2::/64"),
        (("2001:db8:1:3::1", 5), "2001:db8:1:3::/64"),
        (("fe80::1%eth0", 5), "fe80::/64"),
        (None, "unknown"),
    ],
)
def test_addresses_of_one_client_are_one(client: object, address: str) -> None:
    assert client_address({"client": client}) == address


def test_what_is_no_address_is_still_one_name() -> None:
    first, second = (client_address({"client": (name, 0)}) for name in ("x" * 1000, "a:b c"))
    assert re.fullmatch(r"[0-9a-f]{12}", first)
    assert first != second


@pytest.mark.parametrize(
    ("method", "path", "policy"),
    [
        ("POST", "/v1/collections/papers/queries", "rag"),
        ("POST", "/v1/chat/completions", "rag"),
        ("POST", "/v1/embeddings", "rag"),
        ("POST", "/rag/query", "rag"),
        ("POST", "/rag/query/sync", "rag"),
        ("GET", "/rag/query", "general"),
        ("GET", "/v1/collections/papers/queries", "general"),
        ("POST", "/v1/collections/papers/documents", "general"),
        ("POST", "/rag/pipeline", "general"),
        ("POST", "/v1/collections/a/b/queries", "general"),
        ("POST", "/tasks/process", "general"),
        ("GET", "/v1/models", "general"),
    ],
)
def test_what_makes_a_model_work_has_its_own_limit(method: str, path: str, policy: str) -> None:
    assert policy_of(method, path) == policy


def _app(control: object) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.add_middleware(AccessMiddleware)
    app.add_middleware(RequestContextMiddleware)
    app.state.context = SimpleNamespace(access=control)

    @app.get("/{path:path}")
    @app.post("/{path:path}")
    async def _who(request: Request, path: str) -> str:
        return str(getattr(getattr(request.state, "principal", None), "caller", f"nobody at {path}"))

    return app


def _get(app: FastAPI, path: str, headers: Mapping[str, str] | None = None) -> httpx2.Response:
    async def get() -> httpx2.Response:
        transport = httpx2.ASGITransport(app, client=(HERE, 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(get())


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/errors/x", "/docs", "/redoc", "/openapi.json"])
def test_public_addresses_are_neither_asked_nor_counted(path: str) -> None:
    app = _app(access_control(enable_auth=True, rate_limit_general_per_minute=1))
    for _ in range(3):
        reply = _get(app, path)
        assert (reply.status_code, "ratelimit" in reply.headers) == (200, False)


@pytest.mark.parametrize("path", ["/", "/healthz/x", "/health", "/Healthz", "/errors", "/docs/x", "/v1/errors/x"])
def test_all_others_want_a_key(path: str) -> None:
    assert _get(_app(access_control(enable_auth=True)), path).status_code == 401


def test_every_way_to_send_a_key_is_taken() -> None:
    app = _app(access_control(keys=KeyTable(**{TOKEN: _key()}), enable_auth=True))
    for headers in ({"X-API-Key": TOKEN}, {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"bearer  {TOKEN} "}):
        assert _get(app, "/x", headers).json() == "key_a"
    both = {"X-API-Key": OTHER, "Authorization": f"Bearer {TOKEN}"}
    assert _get(app, "/x", both).status_code == 401


def test_refusals_are_problems_that_tell_the_limits() -> None:
    app = _app(access_control(enable_auth=True, rate_limit_general_per_minute=1))

    refused, limited = _get(app, "/x"), _get(app, "/x")

    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert refused.headers["ratelimit"] == '"general";r=0;t=60'
    assert (limited.status_code, limited.json()["code"], limited.json()["retryable"]) == (429, "rate_limited", True)
    assert limited.headers["retry-after"] == "60"
    assert limited.headers["ratelimit-policy"] == '"general";q=1;w=60'
    for reply in (refused, limited):
        assert reply.json()["request_id"] == reply.headers["x-request-id"] != ""


def test_a_redis_that_is_away_is_503() -> None:
    class _Away:
        async def judge(self, *_: object) -> Verdict:
            raise TransientError("redis", "count request", "ConnectionError")

    reply = _get(_app(_Away()), "/x")
    assert (reply.status_code, reply.json()["code"]) == (503, "dependency_unavailable")
    assert reply.headers["retry-after"]


@pytest.mark.parametrize(("token", "names"), [("wrong", []), (TOKEN, ["GET /{path:path}"])])
def test_a_stranger_leaves_no_span_though_its_trace_is_sampled(token: str, names: list[str]) -> None:
    spans: list[Span] = []
    app = _app(access_control(keys=KeyTable(**{TOKEN: _key()}), enable_auth=True))
    use_tracer(Tracer(ratio=0, content=False, deliver=spans.append))
    try:
        _get(app, "/asked", {"X-API-Key": token, "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    finally:
        use_tracer(None)
    assert [span.name for span in spans] == names


@pytest.mark.parametrize("limit", [0, 1], ids=["no-key", "too-many"])
def test_no_byte_of_a_refused_body_is_read(limit: int) -> None:
    app = _app(access_control(enable_auth=True, rate_limit_general_per_minute=limit))
    sent: list[Message] = []

    async def receive() -> Message:
        pytest.fail("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    async def call() -> None:
        scope: ASGIScope = {"type": "http", "method": "POST", "path": "/x", "headers": [], "query_string": b""}
        await app(scope, receive, send)

    for _ in range(2):
        asyncio.run(call())
    statuses = [message["status"] for message in sent if message["type"] == "http.response.start"]
    assert statuses == ([401, 429] if limit else [401, 401])


def test_a_principal_of_a_changed_key_is_the_new_one() -> None:
    clock, table = Clock(), KeyTable(**{TOKEN: _key()})
    control = access_control(keys=table, clock=clock, enable_auth=True)
    _judge(control)
    table.keys[TOKEN] = replace(_key(), tenant="other")
    clock.now += 5
    assert _principal(_judge(control)).tenant == "other"
