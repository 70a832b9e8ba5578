"""How many requests a caller has sent: moving windows of one minute in Redis, shared by all processes of the API."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

import redis.asyncio
from limits.aio.storage.redis.bridge import RedisBridge
from redis.exceptions import NoScriptError

from ragline.stores.ledger.scripts import redis_errors

__all__ = ["WINDOW", "RateLimits", "RedisRateLimits", "Usage"]

WINDOW = timedelta(minutes=1)
"""Length of a window; limits are requests per minute."""

_WINDOW_SECONDS = int(WINDOW.total_seconds())

_FORGETTABLE = b"redis.set_repl(redis.REPL_NONE)\n"
"""Put in front of a script: what it writes goes to no append-only file, and so waits for no fsync, and to no replica.
After a restart or a failover everybody begins with an empty window, which harms nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Where a caller stands.

    Attributes
    ----------
    allowed
        Whether this request was within the limit, and so was counted.
    limit
        Requests per window.
    remaining
        Requests that would pass right now.
    frees_after
        Until the oldest counted request leaves the window, and one more may pass.
    """

    allowed: bool
    limit: int
    remaining: int
    frees_after: timedelta


class RateLimits(Protocol):
    """Counts requests. Both methods raise `TransientError` when the counts cannot be reached."""

    async def hit(self, policy: str, caller: str, limit: int) -> Usage:
        """Count one request of a caller, unless that would be more than `limit` in a window."""

    async def look(self, policy: str, caller: str, limit: int) -> Usage:
        """The same without counting."""


class RedisRateLimits:
    """Moving windows by the scripts of the library ``limits``.

    Its own classes run one script to count and another one to tell how many are left, each a round trip, and wait until
    the count is on the disk. Here both travel in one pipeline, and nothing is written.

    Parameters
    ----------
    clock
        Unix time in seconds, which the scripts are told: processes whose clocks differ disagree by that much about
        when a request leaves the window.
    """

    def __init__(self, client: "redis.asyncio.Redis", *, clock: Callable[[], float] = time.time) -> None:
        # redis-py types every answer as one that may have to be awaited.
        self._redis: Any = client
        self._clock = clock
        self._acquire = self._redis.register_script(_FORGETTABLE + RedisBridge.SCRIPT_ACQUIRE_MOVING_WINDOW)
        self._window = self._redis.register_script(RedisBridge.SCRIPT_MOVING_WINDOW)

    async def hit(self, policy: str, caller: str, limit: int) -> Usage:
        """See `RateLimits.hit`."""
        now = self._clock()
        key = _key(policy, caller)
        acquire = (self._acquire, key, (now, limit, _WINDOW_SECONDS, 1))
        with redis_errors("count request"):
            acquired, window = await self._run(acquire, self._reading(key, limit, now))
        return _usage(window, limit, now, allowed=bool(acquired))

    async def look(self, policy: str, caller: str, limit: int) -> Usage:
        """See `RateLimits.look`."""
        now = self._clock()
        with redis_errors("read counted requests"):
            [window] = await self._run(self._reading(_key(policy, caller), limit, now))
        usage = _usage(window, limit, now, allowed=True)
        return usage if usage.remaining else replace(usage, allowed=False)

    def _reading(self, key: str, limit: int, now: float) -> tuple[Any, str, Sequence[float]]:
        return self._window, key, (now - _WINDOW_SECONDS, limit)

    async def _run(self, *calls: tuple[Any, str, Sequence[float]]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for script, key, args in calls:
            pipe.evalsha(script.sha, 1, key, *args)
        try:
            answers: list[Any] = await pipe.execute()
        except NoScriptError:
            # A server that has just started. Given the scripts themselves, the pipeline asks for them each time.
            for script, key, args in calls:
                await script(keys=[key], args=args, client=pipe)
            answers = await pipe.execute()
        return answers


def _key(policy: str, caller: str) -> str:
    return f"ragline:requests:{policy}:{caller}"


def _usage(window: Sequence[Any] | None, limit: int, now: float, *, allowed: bool) -> Usage:
    oldest, counted = (float(window[0]), int(window[1])) if window else (now, 0)
    return Usage(
        allowed=allowed,
        limit=limit,
        remaining=max(0, limit - counted),
        frees_after=timedelta(seconds=max(0.0, oldest + _WINDOW_SECONDS - now)),
    )
