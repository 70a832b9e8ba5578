"""How many requests a caller has sent: moving windows of one minute in Redis, shared by all processes of the API."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

from limits.aio.storage.redis.bridge import RedisBridge

from ragline.stores.grouped_scripts import GroupedScripts
from ragline.stores.redis_errors import redis_errors

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
    the count is on the disk. Here both travel together, and nothing is written.

    Parameters
    ----------
    clock
        Unix time in seconds, which the scripts are told: processes whose clocks differ disagree by that much about
        when a request leaves the window.
    """

    def __init__(self, scripts: GroupedScripts, *, clock: Callable[[], float] = time.time) -> None:
        self._scripts = scripts
        self._clock = clock
        self._acquire = scripts.add(_FORGETTABLE + RedisBridge.SCRIPT_ACQUIRE_MOVING_WINDOW)
        self._window = scripts.add(RedisBridge.SCRIPT_MOVING_WINDOW)

    async def hit(self, policy: str, caller: str, limit: int) -> Usage:
        """See `RateLimits.hit`."""
        now = self._clock()
        key = _key(policy, caller)
        acquire = self._scripts.call(self._acquire, (now, limit, _WINDOW_SECONDS, 1), keys=[key])
        with redis_errors("count request"):
            # In this order: what is read has this request in it.
            acquired, window = await asyncio.gather(acquire, self._read(key, limit, now))
        return _usage(window, limit, now, allowed=bool(acquired))

    async def look(self, policy: str, caller: str, limit: int) -> Usage:
        """See `RateLimits.look`."""
        now = self._clock()
        with redis_errors("read counted requests"):
            window = await self._read(_key(policy, caller), limit, now)
        usage = _usage(window, limit, now, allowed=True)
        return usage if usage.remaining else replace(usage, allowed=False)

    def _read(self, key: str, limit: int, now: float) -> Awaitable[Sequence[Any] | None]:
        return self._scripts.call(self._window, (now - _WINDOW_SECONDS, limit), keys=[key])


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
