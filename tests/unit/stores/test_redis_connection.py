"""How settings become connections; that they lead to the master is tested with real Sentinels."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from redis.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError

from ragline.common.redis_address import RedisAddress
from ragline.stores.redis_connection import async_redis_client, celery_connection, redis_client

PASSWORD = "p@s;s,w/o#r%d:\u00e9"

WATCHED = RedisAddress(
    url="sentinel://user:p%40s%3Bs%2Cw%2Fo%23r%25d%3A%C3%A9@one:1,[::1]:2,three:3/4",
    master="m",
    sentinel_password="watch",
)

ONE_SERVER = RedisAddress(url="redis://user:pw@host:1/2")

STATE = {"is_master": True, "is_sdown": False, "is_odown": False, "num-other-sentinels": 2, "ip": "ip", "port": 7}

Connect = Callable[..., Any]


@pytest.mark.parametrize("connect", [redis_client, async_redis_client])
@pytest.mark.parametrize("address", [WATCHED, ONE_SERVER])
def test_options_reach_the_connections(connect: Connect, address: RedisAddress) -> None:
    options = {"socket_timeout": 1.5, "socket_connect_timeout": 1, "health_check_interval": 5, "decode_responses": True}
    given = connect(address, **options).connection_pool.connection_kwargs
    assert {name: given[name] for name in options} == options


@pytest.mark.parametrize("connect", [redis_client, async_redis_client])
def test_each_password_goes_to_its_servers(connect: Connect) -> None:
    pool = connect(WATCHED).connection_pool
    given = pool.connection_kwargs
    assert (given["username"], given["password"], given["db"]) == ("user", PASSWORD, 4)
    asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    assert [(one["host"], one["port"], one["password"]) for one in asked] == [
        ("one", 1, "watch"),
        ("::1", 2, "watch"),
        ("three", 3, "watch"),
    ]
    assert all(0 < one["socket_timeout"] <= 1 and 0 < one["socket_connect_timeout"] <= 1 for one in asked)


def test_three_silent_sentinels_are_given_up_within_a_requests_bound() -> None:
    pool = async_redis_client(WATCHED).connection_pool
    seconds = [one.connection_pool.connection_kwargs["socket_timeout"] for one in pool.sentinel_manager.sentinels]  # type: ignore[attr-defined]
    assert 2 * sum(seconds) < 2


@pytest.mark.parametrize("address", [WATCHED, ONE_SERVER])
def test_celery_keeps_the_brokers_options(address: RedisAddress) -> None:
    settings = celery_connection(address, {"unacked_key": "unacked:rag"})
    assert settings["broker_transport_options"]["unacked_key"] == "unacked:rag"
    assert "unacked_key" not in settings.get("result_backend_transport_options", {})


def test_celery_reaches_the_master_for_messages_and_for_results() -> None:
    app = Celery()
    app.conf.update(celery_connection(WATCHED, {}))
    with app.connection() as connection:
        channels = [connection]
        for url in connection.alt:
            channels.append(connection.clone())
            channels[-1].switch(url)
        for one in channels:
            assert (one.transport_cls, one.userid, one.password, one.virtual_host) == (
                "sentinel",
                "user",
                PASSWORD,
                "4",
            )
        assert [(one.hostname, one.port) for one in channels] == [("one", 1), ("one", 1), ("::1", 2), ("three", 3)]
    results = app.backend.connparams
    assert [(host["host"], host["port"]) for host in results["hosts"]] == [("one", 1), ("::1", 2), ("three", 3)]
    assert (results["username"], results["password"], results["db"]) == ("user", PASSWORD, 4)
    for options in (app.conf.broker_transport_options, app.conf.result_backend_transport_options):
        assert options["master_name"] == "m"
        assert options["sentinel_kwargs"]["password"] == "watch"


@pytest.mark.parametrize(
    ("url", "required"),
    [
        ("rediss://:pw@host:1/2", True),
        ("rediss://:pw@host:1/2?ssl_check_hostname=false", True),
        ("rediss://:pw@host:1/2?ssl_cert_reqs=none", False),
    ],
)
def test_celery_checks_certificates_as_our_own_clients_do(url: str, required: bool) -> None:
    app = Celery()
    app.conf.update(celery_connection(RedisAddress(url=url), {}))
    assert (app.connection().ssl["ssl_cert_reqs"].name == "CERT_REQUIRED") == required
    assert (app.backend.connparams["ssl_cert_reqs"].name == "CERT_REQUIRED") == required
    assert parse_url(url)["db"] == app.backend.connparams["db"] == 2  # type: ignore[no-untyped-call]


class _Pool:
    def disconnect(self, *, inuse_connections: bool) -> None:
        assert not inuse_connections


class _Sentinel:
    """One that answers, or is gone; both after the other look-up has come as far."""

    def __init__(self, meet: threading.Barrier, *, alive: bool) -> None:
        self.connection_pool = _Pool()
        self._meet = meet
        self._alive = alive

    def sentinel_masters(self) -> dict[str, Any]:
        self._meet.wait(timeout=5)
        if not self._alive:
            msg = "gone"
            raise RedisConnectionError(msg)
        return {"m": STATE}


class _AsyncPool:
    async def disconnect(self, *, inuse_connections: bool) -> None:
        assert not inuse_connections


class _AsyncSentinel:
    def __init__(self, *, alive: bool) -> None:
        self.connection_pool = _AsyncPool()
        self._alive = alive

    async def sentinel_masters(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        if not self._alive:
            msg = "gone"
            raise RedisConnectionError(msg)
        return {"m": STATE}


def test_no_sentinel_is_lost_by_look_ups_of_many_requests() -> None:
    asked = async_redis_client(WATCHED).connection_pool.sentinel_manager  # type: ignore[attr-defined]
    sentinels = [_AsyncSentinel(alive=False), _AsyncSentinel(alive=True), _AsyncSentinel(alive=False)]
    asked.sentinels = list(sentinels)

    async def look_up() -> list[Any]:
        return await asyncio.gather(*(asked.discover_master("m") for _ in range(5)))

    assert asyncio.run(look_up()) == [("ip", 7)] * 5
    assert asked.sentinels == [sentinels[1], sentinels[0], sentinels[2]]


def test_no_sentinel_is_lost_by_look_ups_of_many_threads() -> None:
    asked = redis_client(WATCHED).connection_pool.sentinel_manager  # type: ignore[attr-defined]
    meet = threading.Barrier(2)
    sentinels = [_Sentinel(meet, alive=False), _Sentinel(meet, alive=True), _Sentinel(meet, alive=False)]
    asked.sentinels = list(sentinels)
    threads = [threading.Thread(target=asked.discover_master, args=("m",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=5)
    assert asked.sentinels == [sentinels[1], sentinels[0], sentinels[2]]
