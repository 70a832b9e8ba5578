"""How Redis is reached, directly or by its Sentinels: our own clients, and what Celery needs to know."""

import asyncio
from copy import copy
from typing import Any, cast
from urllib.parse import quote

import redis.asyncio
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.sentinel import Sentinel
from typing_extensions import override

from ragline.common.redis_address import RedisAddress

__all__ = ["async_redis_client", "celery_connection", "redis_client"]

_API_SENTINEL_SECONDS = 0.3
"""How long one Sentinel may take for an answer to the API. Three silent ones, asked twice, are within the bound of a
request (promise P4); so are two of them and a master that is not there any more."""

_WORKER_SENTINEL_SECONDS = 1.0
"""The same for workers, which have time, and which burn CPU of their own."""


def async_redis_client(address: RedisAddress, **options: Any) -> redis.asyncio.Redis:  # noqa: ANN401 - redis-py's own
    """Client for an event loop; connects late, and with Sentinels to whichever server is the master by then.

    Parameters
    ----------
    options
        Of its connections, as ``Redis.from_url`` takes them.
    """
    if not address.has_sentinels:
        return redis.asyncio.Redis.from_url(address.url, **options)
    sentinels = _AsyncSentinels(address.sentinels, sentinel_kwargs=_asking(address, _API_SENTINEL_SECONDS))  # type: ignore[no-untyped-call]
    return cast("redis.asyncio.Redis", sentinels.master_for(address.master, **_data_server(address), **options))


def redis_client(address: RedisAddress, **options: Any) -> redis.Redis:  # noqa: ANN401 - redis-py's own
    """Client for threads; connects late, and with Sentinels to whichever server is the master by then.

    Parameters
    ----------
    options
        Of its connections, as ``Redis.from_url`` takes them.
    """
    if not address.has_sentinels:
        return redis.Redis.from_url(address.url, **options)
    sentinels = _Sentinels(address.sentinels, sentinel_kwargs=_asking(address, _WORKER_SENTINEL_SECONDS))  # type: ignore[no-untyped-call]
    master = sentinels.master_for(address.master, **_data_server(address), **options)  # type: ignore[no-untyped-call]
    return cast("redis.Redis", master)


def celery_connection(address: RedisAddress, transport_options: dict[str, Any]) -> dict[str, Any]:
    """Celery's settings for broker and results.

    Parameters
    ----------
    transport_options
        Of the broker, to which this adds what leads to the master.
    """
    if not address.has_sentinels:
        url = _verifying(address.url)
        return {"broker_url": url, "result_backend": url, "broker_transport_options": transport_options}
    master = {"master_name": address.master, "sentinel_kwargs": _asking(address, _WORKER_SENTINEL_SECONDS)}
    hosts = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in address.sentinels]
    user = _userinfo(address)
    urls = [f"sentinel://{user}{host}/{address.database}" for host in hosts]
    return {
        # kombu goes from one to the next when it cannot connect, and takes user and password from each.
        "broker_url": ";".join(urls),
        "broker_transport_options": {**transport_options, **master},
        # Celery needs the first password alone, and where it shows its settings hides no other.
        "result_backend": ";".join([urls[0], *(f"sentinel://{host}" for host in hosts[1:])]),
        "result_backend_transport_options": master,
    }


class _AsyncSentinels(AsyncSentinel):
    """redis-py's, but for many requests at once; see `_Sentinels`."""

    @override
    async def discover_master(self, service_name: str) -> Any:
        asked = copy(self)
        asked.sentinels = list(self.sentinels)
        try:
            found = await AsyncSentinel.discover_master(asked, service_name)
        finally:
            idle = [sentinel.connection_pool.disconnect(inuse_connections=False) for sentinel in asked.sentinels]
            await asyncio.gather(*idle, return_exceptions=True)
        self.sentinels = asked.sentinels
        return found


class _Sentinels(Sentinel):
    """redis-py's, but for many threads at once.

    It moves the Sentinel that answered to the front of a list which all share, in two steps: two look-ups at the same
    time can lose a Sentinel for good. Here each changes a list of its own. And it keeps no connection: they are
    rarely needed, and one that died while idle would cost a look-up its answer.
    """

    @override
    def discover_master(self, service_name: str) -> Any:
        asked = copy(self)
        asked.sentinels = list(self.sentinels)
        try:
            found = Sentinel.discover_master(asked, service_name)  # type: ignore[no-untyped-call]
        finally:
            for sentinel in asked.sentinels:
                sentinel.connection_pool.disconnect(inuse_connections=False)
        self.sentinels = asked.sentinels
        return found


def _asking(address: RedisAddress, seconds: float) -> dict[str, Any]:
    """How a Sentinel is asked: once, for the next one may know better. Plain values: Celery shows them as JSON."""
    options = {"socket_timeout": seconds, "socket_connect_timeout": seconds, "retry": None}
    return options if address.sentinel_password is None else {**options, "password": address.sentinel_password}


def _data_server(address: RedisAddress) -> dict[str, Any]:
    return {"db": address.database, "username": address.username, "password": address.password}


def _userinfo(address: RedisAddress) -> str:
    if address.password is None:
        return ""
    return f"{quote(address.username or '', safe='')}:{quote(address.password, safe='')}@"


def _verifying(url: str) -> str:
    """With TLS Celery must be told to check certificates: left alone it does not, and keeps no results at all."""
    if not url.startswith("rediss://") or "ssl_cert_reqs=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required"
