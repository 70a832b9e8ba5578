"""From `ragline keys create` to a refused request: keys, scopes, limits and tenants on a running API."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis
from starlette.testclient import TestClient

from ragline.api import main
from ragline.api.access import KEY_CACHE
from ragline.api.main import create_app
from ragline.cli.supervisor.data_folder import RunningService, announce
from ragline.common.config import ApiConfig
from ragline.common.constants import BROKER_TIMEOUT_SECONDS
from tests.support import pdfs
from tests.support.servers import Process, free_port, python, valkey_server
from tests.support.waiting import wait_until

Keys = Callable[..., Any]

_NOTICED_SECONDS = KEY_CACHE.total_seconds() + 1


@dataclass(kw_only=True)
class Api:
    """An API in a process of its own, as a container runs it."""

    client: httpx2.Client
    log: Path

    def get(self, key: str, path: str = "/v1/collections") -> httpx2.Response:
        return self.client.get(path, headers={"X-API-Key": key})


@pytest.fixture
def environment(valkey_url: str, redis_client: "redis.Redis", tmp_path: Path) -> dict[str, str]:
    """Of the API and the command line; Redis is empty."""
    assert redis_client.dbsize() == 0
    return {
        "API_KEYS": "static-key-0123456789abcdef",
        "API_PORT": str(free_port()),
        "CHROMA_URL": "http://127.0.0.1:9",
        "ENABLE_AUTH": "true",
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "DEBUG",
        "OBJECT_STORE_URL": f"file://{tmp_path}/objects",
        "REDIS_URL": valkey_url,
    }


@pytest.fixture
def keys(environment: dict[str, str], tmp_path: Path) -> Keys:
    """Runs `ragline keys ... --json`; what it printed."""

    def run(*words: str) -> Any:  # noqa: ANN401 - JSON
        return json.loads(_ragline(environment, tmp_path, *words, "--json"))

    return run


@pytest.fixture
def api(environment: dict[str, str], tmp_path: Path) -> Iterator[Api]:
    with ExitStack() as exits:
        process = Process(python("-m", "ragline.api.server"), log=tmp_path / "api.log", env=environment)
        exits.callback(process.stop)
        url = f"http://127.0.0.1:{environment['API_PORT']}"
        client = exits.enter_context(httpx2.Client(base_url=url, timeout=10))
        process.wait_ready(lambda: _alive(client))
        yield Api(client=client, log=process.log)


def _ragline(environment: Mapping[str, str], folder: Path, *words: str) -> str:
    start = "import sys; from ragline.cli.main import app; app()"
    command = python("-c", start, "keys", *words)
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    env = {**inherited, **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True, timeout=30).stdout


def _alive(client: httpx2.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx2.HTTPError:
        return False


def test_the_story_of_a_key(api: Api, keys: Keys, redis_client: "redis.Redis") -> None:
    made = keys("create", "--name", "reports", "--tenant", "acme", "--scope", "read", "--expires-in", "90d")
    key, key_id = made["key"], made["id"]
    assert api.get(key).status_code == 200
    assert api.client.get("/v1/collections", headers={"Authorization": f"Bearer {key}"}).status_code == 200

    refused = api.client.post("/tasks/process", json={"data": "x"}, headers={"X-API-Key": key})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "ingest" in refused.json()["detail"]

    successor = keys("rotate", key_id, "--overlap", "1h")
    assert successor["tenant"] == "acme"
    assert api.get(successor["key"]).status_code == api.get(key).status_code == 200

    assert keys("revoke", key_id)["state"] == "revoked"
    wait_until(lambda: api.get(key).status_code == 401, timeout_seconds=_NOTICED_SECONDS, interval_seconds=0.2)
    assert api.get(successor["key"]).status_code == 200
    # Both may have been made in the same second, which the list is in the order of.
    assert {(listed["id"], listed["state"]) for listed in keys("list")} == {
        (key_id, "revoked"),
        (successor["id"], "active"),
    }
    _assert_nowhere(redis_client, api.log, [key, successor["key"], "static-key-0123456789abcdef"])
    assert key_id in api.log.read_text()


def test_a_key_ends_by_itself(api: Api, keys: Keys) -> None:
    key = keys("create", "--name", "short", "--expires-in", "5s")["key"]
    assert api.get(key).status_code == 200
    wait_until(lambda: api.get(key).status_code == 401, timeout_seconds=6, interval_seconds=0.2)


def test_an_overlap_ends(api: Api, keys: Keys) -> None:
    made = keys("create", "--name", "n")
    assert api.get(made["key"]).status_code == 200
    new = keys("rotate", made["id"], "--overlap", "0s")["key"]
    wait_until(lambda: api.get(made["key"]).status_code == 401, timeout_seconds=_NOTICED_SECONDS, interval_seconds=0.2)
    assert api.get(new).status_code == 200


def test_keys_have_limits_of_their_own_and_share_none(api: Api, keys: Keys) -> None:
    small = keys("create", "--name", "small", "--general-per-minute", "3", "--rag-per-minute", "1")["key"]
    usual = keys("create", "--name", "usual")["key"]

    replies = [api.get(small) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429]
    assert [reply.headers["ratelimit"].partition(";t=")[0] for reply in replies] == [
        f'"general";r={left}' for left in (2, 1, 0, 0)
    ]
    assert {reply.headers["ratelimit-policy"] for reply in replies} == {'"general";q=3;w=60'}
    assert replies[3].json()["code"] == "rate_limited"
    assert 55 <= int(replies[3].headers["retry-after"]) <= 60

    asked = [
        api.client.post("/v1/collections/x/queries", json={"question": "?"}, headers={"X-API-Key": small})
        for _ in range(2)
    ]
    assert [reply.status_code for reply in asked] == [404, 429]
    assert asked[0].headers["ratelimit-policy"] == '"rag";q=1;w=60'

    for left in range(59, -1, -1):
        reply = api.get(usual)
        assert (reply.status_code, f";r={left};" in reply.headers["ratelimit"]) == (200, True)
    assert api.get(usual).status_code == 429
    assert api.client.get("/healthz").status_code == 200


def test_a_forged_address_changes_nothing(api: Api) -> None:
    """The API's server believes no proxy, not even one on this machine, unless it is told to."""
    replies = [
        api.client.get("/v1/collections", headers={"X-Forwarded-For": f"203.0.113.{number}"}) for number in range(61)
    ]
    assert [reply.status_code for reply in replies] == [401] * 60 + [429]
    assert replies[0].headers["ratelimit"].startswith('"general";r=59;')


def test_tenants_see_nothing_of_each_other(api: Api, keys: Keys) -> None:
    ours, theirs = (keys("create", "--name", "n", "--tenant", name)["key"] for name in ("acme", "globex"))
    upload = {"file": ("a.pdf", pdfs.text_pdf(["x"]))}
    path = "/v1/collections/papers/documents"
    sent = api.client.post(path, files=upload, headers={"X-API-Key": ours}).json()

    assert api.get(ours, f"/v1/jobs/{sent['job_id']}").status_code == 200
    for address, known in (
        ("/v1/jobs/{}", sent["job_id"]),
        ("/v1/documents/{}", sent["document_id"]),
        ("/tasks/status/{}", sent["job_id"]),
        ("/v1/collections/{}", "papers"),
        ("/v1/collections/{}/documents", "papers"),
    ):
        unknown = known[:-1] + ("0" if known[-1] != "0" else "1")
        foreign, absent = (api.get(theirs, address.format(name)) for name in (known, unknown))
        assert foreign.status_code == absent.status_code == 404, address
        assert _body(foreign) == _body(absent), address
    assert api.get(theirs).json() == {"collections": [], "next": None}


def test_the_command_finds_the_service_that_runs_here(
    environment: dict[str, str], valkey_url: str, tmp_path: Path, redis_client: "redis.Redis"
) -> None:
    (tmp_path / "storage").mkdir()
    service = RunningService.model_validate(
        {
            "pid": 1,
            "api_url": "http://127.0.0.1:1",
            "redis_url": valkey_url,
            "chroma_url": "http://127.0.0.1:1",
            "started_at": "2026-01-01T00:00:00Z",
        }
    )
    unset = {name: value for name, value in environment.items() if name != "REDIS_URL"}
    with announce(tmp_path / "storage", service):
        token = _ragline(unset, tmp_path, "create", "--name", "n").strip()
        table = _ragline(unset, tmp_path, "list")
    assert token.startswith("rk_")
    assert token[:10] in table
    assert token not in table
    assert redis_client.hlen("ragline:api_keys") == 1


def test_a_frozen_redis_costs_a_caller_two_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "configure_logging", lambda **_: None)
    with valkey_server(tmp_path / "valkey") as (url, valkey):
        settings = {"redis_url": url, "object_store_url": f"file://{tmp_path}/objects", "enable_auth": True}
        config = ApiConfig.model_validate({**settings, "api_keys": "static"})
        with TestClient(create_app(config)) as client:
            assert client.get("/v1/collections", headers={"X-API-Key": "static"}).status_code == 200
            valkey.freeze()
            try:
                for key in ("static", "wrong", f"rk_{'a' * 43}"):
                    reply = client.get("/v1/collections", headers={"X-API-Key": key})
                    assert (reply.status_code, reply.json()["code"]) == (503, "dependency_unavailable")
                    assert reply.elapsed.total_seconds() <= BROKER_TIMEOUT_SECONDS
                assert client.get("/healthz").status_code == 200
            finally:
                valkey.thaw()


def _assert_nowhere(client: "redis.Redis", log: Path, tokens: list[str]) -> None:
    """Not in the log, and in no name or value of any kind in Redis."""
    server: Any = client
    readers = {
        "hash": server.hgetall,
        "list": partial(server.lrange, start=0, end=-1),
        "set": server.smembers,
        "stream": server.xrange,
        "string": server.get,
        "zset": partial(server.zrange, start=0, end=-1),
    }
    stored = [f"{name} {readers[server.type(name)](name)}" for name in server.scan_iter()]
    assert len(stored) >= 3
    text = "\n".join([*stored, log.read_text()])
    assert "ragline:api_key:" in text
    assert [token for token in tokens if token[-20:] in text] == []


def _body(reply: httpx2.Response) -> dict[str, Any]:
    return {name: value for name, value in reply.json().items() if name not in {"request_id", "trace_id"}}
