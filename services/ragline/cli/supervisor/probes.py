"""Questions that tell whether a part does its work."""

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ragline.common.queues import Queue
from ragline.common.redis_address import RedisAddress
from ragline.stores.ledger.keys import workers_key
from ragline.stores.redis_connection import redis_client

__all__ = ["http_ok", "redis_answers", "worker_beats"]

_PATIENCE = timedelta(seconds=1)
"""Everything asked here runs on this computer or nearby; the supervisor does nothing else while it waits."""


def http_ok(url: str) -> Callable[[], bool]:
    """Whether an address answers 200."""
    client = httpx2.Client(timeout=_PATIENCE.total_seconds(), trust_env=False)

    def probe() -> bool:
        try:
            return client.get(url).status_code == httpx2.codes.OK
        except httpx2.HTTPError:
            return False

    return probe


def redis_answers(address: RedisAddress) -> Callable[[], bool]:
    """Whether a Redis answers PING; while it loads its data it does not."""
    client = _client(address)

    def probe() -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(client.ping())
        return False

    return probe


def worker_beats(address: RedisAddress, queue: Queue) -> Callable[[], bool]:
    """Whether a worker of this queue has said that it is alive since the first time this was asked.

    Asked of the ledger and not of ``GET /tasks/info``: that lists the workers of a service killed seconds ago too,
    and may want a key and count against a rate limit.
    """
    client = _client(address)
    first_seen: float | None = None

    def probe() -> bool:
        nonlocal first_seen
        with contextlib.suppress(redis.RedisError):
            newest: Any = client.zrevrange(workers_key(queue), 0, 0, withscores=True)
            gone_at: float = newest[0][1] if newest else 0.0
            first_seen = gone_at if first_seen is None else first_seen
            return gone_at > first_seen
        return False

    return probe


def _client(address: RedisAddress) -> redis.Redis:
    seconds = _PATIENCE.total_seconds()
    return redis_client(
        address,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
